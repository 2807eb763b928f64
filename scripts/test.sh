#!/bin/sh
# `npm test -- [FILTER...]`: sets up, builds, checks and runs every test, or the test files whose path contains a FILTER; never passes by skipping.
set -eu
. "$(dirname -- "$0")/env.sh"

sh scripts/setup.sh test
sh scripts/build.sh

# With a filter the checks of the whole tree are left out: it is for working on one thing.
if [ $# = 0 ]; then
  say "checking generated files"
  sh scripts/gen.sh --check
  sh scripts/lint.sh
fi

# The tests are what is in test/ now: a stale file in dist/ is no test. Those of test/kernels run in guests (test-kernels.sh).
calm=
probing=
for source in $(find test -path test/kernels -prune -o -name '*.test.ts' -print | sort); do
  keep=no
  [ $# -gt 0 ] || keep=yes
  for filter in "$@"; do
    case $source in *"$filter"*) keep=yes ;; esac
  done
  [ "$keep" = yes ] || continue
  compiled=dist/${source%.ts}.js
  case $source in
    test/integration/* | test/e2e/*) probing="$probing $compiled" ;;
    *) calm="$calm $compiled" ;;
  esac
done
[ -n "$calm$probing" ] || die "no test file matches: $*"

# Tests that probe the machine need root, and fail loudly without.
run_as=
if [ "$(id -u)" != 0 ] && [ -n "$probing" ] && command -v sudo >/dev/null 2>&1 && sudo -n -E true 2>/dev/null; then run_as='sudo -E'; fi

mkdir -p dist/test-results
rm -f dist/test-results/*.tap
status=0
# run NAME CONCURRENCY FILES...: the readable report to standard output, the counts into a TAP file.
run() {
  name=$1 concurrency=$2
  shift 2
  # shellcheck disable=SC2086
  $run_with "$NODE" --enable-source-maps --test --test-concurrency="$concurrency" --test-timeout=600000 \
    --test-reporter=spec --test-reporter-destination=stdout \
    --test-reporter=tap --test-reporter-destination="dist/test-results/$name.tap" "$@" </dev/null || status=1
}
# shellcheck disable=SC2086
{
  run_with=
  [ -z "$calm" ] || run calm 2 $calm
  run_with=$run_as
  [ -z "$probing" ] || run probing 1 $probing
}

count() { cat dist/test-results/*.tap 2>/dev/null | awk -v what="$1" '$1 == "#" && $2 == what { n += $3 } END { print n + 0 }'; }
passed=$(count pass)
failed=$(($(count fail) + $(count cancelled)))
skipped=$(($(count skipped) + $(count todo)))
if [ "$skipped" != 0 ]; then
  say "$skipped tests were skipped, and a skipped test is a failed one here" >&2
  failed=$((failed + skipped))
fi
[ "$passed" != 0 ] || status=1
[ "$failed" = 0 ] || status=1
printf '%s passed, %s failed\n' "$passed" "$failed"
exit "$status"
