#!/bin/sh
# `npm run lint [-- --fix]`: format, lint, import rules and house rules over the whole tree; changes files only with --fix.
set -eu
. "$(dirname -- "$0")/env.sh"
need_node

fix=
if [ "${1:-}" = --fix ]; then fix=--write; fi
status=0
say "biome"
# shellcheck disable=SC2086
"$NODE" node_modules/@biomejs/biome/bin/biome check --error-on-warnings $fix . || status=1
say "import rules"
"$NODE" node_modules/dependency-cruiser/bin/dependency-cruise.mjs --config .dependency-cruiser.cjs --output-type err-long host test bench || status=1
say "house rules"
"$NODE" scripts/lint-rules.mjs || status=1
for script in scripts/*.sh bin/oisp-host .ci/run; do
  case $(head -n 1 "$script") in *bash*) shell=bash ;; *) shell=sh ;; esac
  "$shell" -n "$script" || status=1
done
[ "$status" = 0 ] || die "lint found something: npm run lint -- --fix mends the formatting, the rest is for you"
