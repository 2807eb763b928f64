#!/bin/sh
# `npm run gen [-- --check]`: writes every generated file again, or with --check only says which are out of date.
set -eu
. "$(dirname -- "$0")/env.sh"
need_node
for generator in scripts/gen-*.mjs; do
  "$NODE" "$generator" "$@" || die "${generator##*/} $* failed: run npm run gen and commit what it writes"
done
