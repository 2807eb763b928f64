#!/bin/sh
# Fetches the kernels of test/kernels/guests.tsv, and for another architecture what its guest runs, into .setup/guests/; what is there stays.
# Each guest's folder then holds `vmlinuz`, or `unavailable` with the reason. It installs nothing.
set -eu
. "$(dirname -- "$0")/env.sh"
. "$OISP_ROOT/scripts/debian.sh"

home=$OISP_ROOT/.setup/guests
# What guests of a foreign architecture run besides Node and oisp-host itself; the -dev packages are what the addon is built against.
programs='busybox-static dash curl openssl libstdc++6 libbpf1 libelf1 zlib1g'
headers='libbpf-dev libelf-dev zlib1g-dev'

debian_arch() { case $1 in x64) echo amd64 ;; *) echo "$1" ;; esac; }

# fetch_kernel NAME ARCH SUITE META: the reason on standard error when it cannot be had.
fetch_kernel() {
  debian_index "$3" "$2" || return 1
  image=$(debian_depends "$3" "$2" "$4" linux-image-)
  [ -n "$image" ] || { echo "$4 of $3 names no kernel" >&2 && return 1; }
  # From 7 on the file is in a package of its own.
  binary=$(debian_depends "$3" "$2" "$image" linux-binary-)
  unpacked=$home/$1/unpacked
  rm -rf "$unpacked"
  # shellcheck disable=SC2086
  debian_fetch "$3" "$2" "$unpacked" "$image" $binary || return 1
  found=$(find "$unpacked" -type f -name 'vmlinuz*' | head -n 1)
  [ -n "$found" ] || { echo "$image holds no vmlinuz" >&2 && return 1; }
  mv "$found" "$home/$1/vmlinuz"
  rm -rf "$unpacked"
}

# fetch_sysroot ARCH: programs and libraries for guests of another architecture.
fetch_sysroot() {
  sysroot=$home/sysroot-$1
  [ ! -f "$sysroot/done" ] || return 0
  rm -rf "$sysroot"
  debian_index bookworm "$1" || return 1
  # shellcheck disable=SC2046,SC2086
  debian_fetch bookworm "$1" "$sysroot" $(debian_needs bookworm "$1" $programs) $headers || return 1
  : >"$sysroot/done"
}

guests() { grep -v '^#' test/kernels/guests.tsv; }

mkdir -p "$home"
guests | while read -r name arch suite meta; do
  folder=$home/$name
  mkdir -p "$folder"
  rm -f "$folder/unavailable"
  [ ! -f "$folder/vmlinuz" ] || continue
  say "fetching the kernel of guest $name ($suite, $arch)"
  fetch_kernel "$name" "$(debian_arch "$arch")" "$suite" "$meta" 2>"$home/reason" || mv "$home/reason" "$folder/unavailable"
done
for arch in $(guests | cut -f 2 | sort -u); do
  [ "$arch" != "$OISP_ARCH" ] || continue
  say "fetching what guests of $arch run"
  fetch_sysroot "$(debian_arch "$arch")" 2>"$home/reason" || guests | while read -r name of _; do
    [ "$of" != "$arch" ] || cp "$home/reason" "$home/$name/unavailable"
  done
done
rm -f "$home/reason"
