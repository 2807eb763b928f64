#!/bin/sh
# `npm run test:kernels [-- NAME...] [--json]`: sets up, builds, and runs the tests of test/kernels in guests with other kernels.
# Exit code 69: nothing to boot guests with, or no kernel, can be had here; everything else that fails is a failure.
set -eu
. "$(dirname -- "$0")/env.sh"

sh scripts/setup.sh test >&2
sh scripts/setup.sh kernels >&2
sh scripts/build.sh >&2
sh scripts/fetch-guests.sh >&2
guests() { grep -v '^#' test/kernels/guests.tsv; }
# can_boot ARCH: a guest of that architecture has its kernel, and what it runs.
can_boot() { guests | while read -r name arch _; do [ "$arch" != "$1" ] || [ -f ".setup/guests/$name/unavailable" ] || echo "$name"; done | grep -q .; }
for arch in $(guests | cut -f 2 | sort -u); do
  can_boot "$arch" || continue
  say "packing what guests of $arch run" >&2
  sh scripts/pack-guest.sh "$arch" >&2
done
exec "$NODE" --enable-source-maps dist/test/kernels/matrix.js "$@"
