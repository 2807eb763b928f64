#!/bin/sh
# `npm run bench -- ARGS`: sets up, builds and runs the benchmarks; only their result goes to standard output.
set -eu
. "$(dirname -- "$0")/env.sh"
sh scripts/setup.sh test >&2
sh scripts/build.sh >&2
exec "$NODE" --enable-source-maps dist/bench/main.js "$@"
