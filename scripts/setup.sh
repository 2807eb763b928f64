#!/bin/sh
# Installs what building needs (`setup.sh test`: testing too; `setup.sh kernels`: what boots guests) and says so; never builds, and does nothing when it is all there already.
set -eu
. "$(dirname -- "$0")/env.sh"

mode=${1:-base}
case $mode in
  base) packages='clang llvm libbpf-dev libelf-dev zlib1g-dev g++ pkg-config ca-certificates' commands='clang llvm-strip g++ pkg-config' ;;
  test)
    packages='clang llvm libbpf-dev libelf-dev zlib1g-dev g++ pkg-config ca-certificates python3 curl openssl util-linux iproute2 libssl-dev systemd wget gnutls-bin libgnutls28-dev libnss3-dev libnspr4-dev libnss3-tools'
    commands='clang llvm-strip g++ pkg-config python3 curl openssl setpriv nsenter ip systemd-analyze wget gnutls-cli tstclnt'
    test_headers=/usr/include/openssl/ssl.h
    ;;
  kernels)
    # Guests of the other architecture are built for from here.
    case $OISP_ARCH in arm64) other=x86-64 gxx=x86_64 ;; *) other=aarch64 gxx=aarch64 ;; esac
    packages="qemu-system-x86 qemu-system-arm busybox-static cpio dash curl openssl debian-archive-keyring g++-$other-linux-gnu"
    commands="qemu-system-x86_64 qemu-system-aarch64 busybox cpio dash curl openssl $gxx-linux-gnu-g++"
    ;;
  *) die "usage: setup.sh [base|test|kernels]" ;;
esac
headers="/usr/include/bpf/libbpf.h /usr/include/libelf.h /usr/include/zlib.h ${test_headers:-}"

[ "$(uname -s)" = Linux ] || die "this is a Linux daemon: $(uname -s) has no eBPF"
[ "$OISP_ARCH" != unsupported ] || die "$(uname -m) is not supported: build on x86_64 or aarch64"

os_id=$(. /etc/os-release 2>/dev/null && printf '%s %s' "${ID:-unknown}" "${VERSION_ID:-}") || os_id=unknown
key=$( (cat package-lock.json scripts/setup.sh && printf '%s\n' "$os_id $OISP_ARCH") | sha256sum | cut -d' ' -f1)
npm_key=$(sha256sum package-lock.json | cut -d' ' -f1)
stamp=.setup/$mode

# tools_present: every command and header that the packages would bring is there, whoever installed it.
tools_present() {
  missing=
  for command in $commands; do command -v "$command" >/dev/null 2>&1 || missing="$missing $command"; done
  for header in $headers; do [ -e "$header" ] || missing="$missing ${header##*/}"; done
  [ -z "$missing" ]
}
# node_present: npm finished its last installation, and the pinned Node came with it.
node_present() { [ -f node_modules/.package-lock.json ] && [ -x "$NODE" ]; }

# libbpf before 1.0 has another interface, and cannot read the type information of kernels from 6.0 on.
libbpf_present() { pkg-config --exists 'libbpf >= 1.0' 2>/dev/null; }

if [ "$(cat "$stamp" 2>/dev/null)" = "$key" ] && tools_present && libbpf_present && node_present; then exit 0; fi

# no_packages: in the mode for guests, which a machine may do without, the exit code says that it is this.
no_packages() {
  printf '%s\n' "oisp-host: $*" >&2
  [ "$mode" != kernels ] || exit 69
  exit 1
}
as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}
apt_install() {
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@" >.setup/apt.log 2>&1
}

# install_packages: asks dpkg what is missing, and apt for only that; the package lists are refreshed only when apt needs it.
install_packages() {
  wanted=
  for package in $packages; do
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || wanted="$wanted $package"
  done
  [ -n "$wanted" ] || return 0
  if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null 2>&1 || die "these packages are missing and installing them needs root or sudo; as root run: apt-get install$wanted"
    sudo -n true 2>/dev/null || sudo -v || die "these packages are missing and sudo refused; as root run: apt-get install$wanted"
  fi
  say "installing with apt-get:$wanted"
  # shellcheck disable=SC2086
  if apt_install $wanted; then return 0; fi
  say "refreshing the package lists (apt-get update)"
  as_root apt-get update -q >.setup/apt.log 2>&1 || no_packages "apt-get update failed ($(tail -n 1 .setup/apt.log)): check the network and the apt sources"
  # shellcheck disable=SC2086
  apt_install $wanted || no_packages "apt-get could not install$wanted ($(tail -n 1 .setup/apt.log)): .setup/apt.log has the whole story"
}

mkdir -p .setup
if command -v dpkg-query >/dev/null 2>&1 && command -v apt-get >/dev/null 2>&1; then
  install_packages
  tools_present || die "still missing after the installation:$missing"
else
  [ "$mode" != kernels ] || tools_present || no_packages "this system has no apt-get to install $packages"
  tools_present || die "this system has no apt-get: install clang, llvm (llvm-strip), a C++ compiler, pkg-config and the headers of libbpf, libelf and zlib yourself (missing:$missing)"
fi

# fetch_libbpf FILE: the upstream source that Ubuntu 24.04, else Debian 12, packages, from a mirror this system uses already. The hashes
# are those of their signed package lists.
fetch_libbpf() {
  for mirror in $(cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources 2>/dev/null |
    sed -n -E 's/^deb +(\[[^]]*\] +)?(https?:[^ ]+).*/\2/p; s/^URIs: *(https?:[^ ]+).*/\1/p' | sort -u); do
    for source in 1.3.0:11db86acd627e468bc48b7258c1130aba41a12c4d364f78e184fd2f5a913d861 1.1.2:b50ab60637fb713db78aa98e6ca911ddf13c0799d498a1f6ec03ebffc7dca588; do
      "$helper" download-file "${mirror%/}/pool/main/libb/libbpf/libbpf_${source%%:*}.orig.tar.gz" "$1" "SHA256:${source#*:}" && return 0
    done
  done
  return 1
}

# build_libbpf: Ubuntu 22.04 has only libbpf 0.5. A static library is built from a newer source and kept in .setup/; nothing is installed.
build_libbpf() {
  say "building libbpf: the $(pkg-config --modversion libbpf) of this system is too old for current kernels"
  command -v make >/dev/null 2>&1 || packages=make install_packages
  helper=/usr/lib/apt/apt-helper
  [ -x "$helper" ] || die "libbpf 1.0 or newer is needed, with its headers: install it, or build it with PREFIX=$OISP_ROOT/.setup/libbpf"
  folder=$(mktemp -d)
  trap 'rm -rf "$folder"' EXIT
  fetch_libbpf "$folder/libbpf.tar.gz" >.setup/libbpf.log 2>&1 || die "the source of libbpf could not be fetched: .setup/libbpf.log has the whole story"
  tar -xzf "$folder/libbpf.tar.gz" -C "$folder"
  prefix=$OISP_ROOT/.setup/libbpf
  rm -rf "$prefix" dist/native dist/bpf
  env -u PKG_CONFIG_PATH -u LIBRARY_PATH make -C "$folder"/libbpf-*/src -j2 BUILD_STATIC_ONLY=y CFLAGS='-O2 -fPIC' PREFIX="$prefix" INCLUDEDIR="$prefix/include" \
    LIBDIR="$prefix/lib" UAPIDIR="$prefix/include" install install_uapi_headers >>.setup/libbpf.log 2>&1 ||
    die "libbpf could not be built ($(tail -n 1 .setup/libbpf.log)): .setup/libbpf.log has the whole story"
  # As a system header, like the one of a distribution: its macros do not meet this project's warnings.
  sed -i 's|-I\${includedir}|-isystem ${includedir}|' "$prefix/lib/pkgconfig/libbpf.pc"
  rm -rf "$folder"
  trap - EXIT
  . "$OISP_ROOT/scripts/env.sh"
  libbpf_present || die "the libbpf that was built is not found: remove .setup/libbpf and try again"
}

# npm_reason: the line of npm's log that says why; the others are codes and where to read more.
npm_reason() {
  sed -n -E 's/^npm (ERR!|error) *//p' .setup/npm.log | grep -v -E '^(code|errno|syscall|path) |complete log|debug-0[.]log|^$' | head -n 1
}

libbpf_present || build_libbpf

# The packages of npm need none of their install scripts, and the Node that runs everything is one of them.
if ! node_present || [ "$(cat .setup/npm 2>/dev/null)" != "$npm_key" ]; then
  command -v npm >/dev/null 2>&1 || die "npm is missing: install it once (on Debian and Ubuntu: apt-get install npm), any version from 8 on"
  say "installing npm packages and the pinned Node (npm ci)"
  # Below `npm start` the PATH begins with node_modules/.bin, whose Node is about to be replaced.
  PATH=$(printf '%s' "$PATH" | tr ':' '\n' | grep -v -e 'node_modules/.bin$' -e 'node-gyp-bin$' | paste -s -d : -)
  npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >.setup/npm.log 2>&1 || die "npm ci failed ($(npm_reason)): .setup/npm.log has the whole story"
  node_present || die "npm ci brought no Node for $OISP_ARCH: check that optional dependencies are not switched off (npm config get omit)"
  printf '%s\n' "$npm_key" >.setup/npm
fi
"$NODE" -e '' 2>/dev/null || die "the pinned Node does not start here: it needs glibc 2.28 and libstdc++"

printf '%s\n' "$key" >"$stamp"
[ "$mode" != test ] || printf '%s\n' "$key" >.setup/base
say "set-up done (Node $("$NODE" --version))"
