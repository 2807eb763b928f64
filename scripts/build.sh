#!/bin/sh
# Builds everything, or the named parts (bpf native decoders ts), and is quick and quiet about what is up to date; never installs anything.
set -eu
. "$(dirname -- "$0")/env.sh"
need_node

build_ts() {
  stamp=dist/.ts-stamp
  if [ -f "$stamp" ] && [ -f dist/host/src/cli/main.js ] &&
    [ -z "$(find host test bench schema package-lock.json tsconfig.json -newer "$stamp" 2>/dev/null | head -n 1)" ]; then
    return 0
  fi
  mkdir -p dist
  : >"$stamp.next"
  say "compiling TypeScript"
  "$NODE" node_modules/typescript/bin/tsc -p tsconfig.json || return 1
  mv "$stamp.next" "$stamp"
}

[ $# -gt 0 ] || set -- bpf native decoders ts
for part in "$@"; do
  case $part in
    bpf) sh scripts/build-bpf.sh ;;
    native) sh scripts/build-native.sh ;;
    decoders) "$NODE" scripts/build-decoders.mjs ;;
    ts) build_ts ;;
    *) die "build.sh knows bpf, native, decoders and ts, not '$part'" ;;
  esac || die "building $part failed"
done
