#!/bin/sh
# `npm run mock -- [--port N]`: runs the mock AI server of the tests in the foreground; never reaches beyond loopback.
set -eu
. "$(dirname -- "$0")/env.sh"
sh scripts/setup.sh test >&2
sh scripts/build.sh ts >&2
exec "$NODE" --enable-source-maps dist/test/mock/main.js "$@"
