#!/bin/sh
# `npm run fuzz -- [OPTIONS]`: sets up, builds, and searches the decoders for faults (test/fuzz/main.ts); needs no privileges.
set -eu
. "$(dirname -- "$0")/env.sh"

sh scripts/setup.sh
sh scripts/build.sh >&2
exec "$NODE" --enable-source-maps dist/test/fuzz/main.js "$@"
