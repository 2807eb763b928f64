#!/bin/sh
# Packs what a guest of the kernel matrix runs into dist/kernels/ARCH.cpio: oisp-host with its Node, its tests, and a few programs. It fetches nothing but npm packages.
# Usage: pack-guest.sh x64|arm64. The programs of this machine's architecture are its own, those of another come from scripts/fetch-guests.sh.
set -eu
. "$(dirname -- "$0")/env.sh"

arch=${1:-}
case $arch in
  x64) triplet=x86_64-linux-gnu bpf_arch=x86 debian_arch=amd64 ;;
  arm64) triplet=aarch64-linux-gnu bpf_arch=arm64 debian_arch=arm64 ;;
  *) die 'usage: pack-guest.sh x64|arm64' ;;
esac
work=$OISP_ROOT/dist/kernels/$arch
root=$work/root
app=$root/opt/oisp-host
programs='/usr/bin/curl /usr/bin/openssl /bin/dash /bin/busybox'
rm -rf "$root"
mkdir -p "$root/bin" "$root/dev" "$root/etc" "$root/proc" "$root/sys" "$root/tmp" "$root/usr" "$root/var" "$app/dist" "$work/npm"
ln -s ../bin "$root/usr/bin"

# Where the programs and their libraries come from, and what compiles for them.
if [ "$arch" = "$OISP_ARCH" ]; then
  source=
  CC=cc
else
  source=$OISP_ROOT/.setup/guests/sysroot-$debian_arch
  CC=$triplet-gcc
  export CXX=$triplet-g++ CXXFLAGS="-isystem $source/usr/include -isystem $source/usr/include/$triplet" \
    LDFLAGS="-L$source/usr/lib/$triplet -L$source/lib/$triplet -static-libstdc++ -static-libgcc"
fi

# The packages that oisp-host needs to run, as the lock file has them for that architecture.
lock_key=$(sha256sum package-lock.json | cut -d ' ' -f 1)
if [ "$(cat "$work/npm/key" 2>/dev/null)" != "$lock_key" ]; then
  cp package.json package-lock.json "$work/npm/"
  (cd "$work/npm" && npm ci --omit=dev --ignore-scripts --no-audit --no-fund --loglevel=error --os=linux --cpu="$arch") >"$work/npm.log" 2>&1 ||
    die "npm ci for guests of $arch failed: dist/kernels/$arch/npm.log has the whole story"
  [ -x "$work/npm/node_modules/node-linux-$arch/bin/node" ] || die "npm brought no Node for $arch: npm 10 or newer knows --cpu"
  printf '%s\n' "$lock_key" >"$work/npm/key"
fi

sh scripts/build-bpf.sh "$bpf_arch" "$work/oisp.bpf.o"
sh scripts/build-native.sh "$work/native/oisp_native.node"
"$CC" -O2 -static -pthread test/integration/fixtures/native-tls.c -o "$root/opt/native-tls"

# The same tree as a checkout's, so that tests find what they look for.
cp -R package.json bin "$app/"
cp -R "$work/npm/node_modules" "$app/"
rm -rf "$app/node_modules/node-linux-$arch/include" "$app/node_modules/node-linux-$arch/share"
cp -R dist/decoders dist/scan dist/host dist/test "$app/dist/"
mkdir -p "$app/dist/bpf" "$app/dist/native"
cp "$work/oisp.bpf.o" "$app/dist/bpf/"
cp "$work/native/oisp_native.node" "$app/dist/native/"
cp test/kernels/init "$root/init"

for program in $programs; do cp -L "$source$program" "$root/bin/"; done
ln -s dash "$root/bin/sh"
ln -s "../opt/oisp-host/node_modules/node-linux-$arch/bin/node" "$root/bin/node"
printf 'root:x:0:0:root:/tmp:/bin/sh\n' >"$root/etc/passwd"
: >"$root/etc/resolv.conf"
cp -L /etc/ssl/openssl.cnf "$root/etc/"

# Every shared library that something here needs, at the path it is looked for.
binaries="$app/node_modules/node-linux-$arch/bin/node $app/dist/native/oisp_native.node"
for program in $programs; do binaries="$binaries $source$program"; done
if [ -z "$source" ]; then
  # shellcheck disable=SC2086
  for library in $(ldd $binaries 2>/dev/null | sed -n -E 's|^.*[[:space:]](/[^ ]+) \(0x.*|\1|p' | sort -u); do
    mkdir -p "$root${library%/*}"
    cp -L "$library" "$root$library"
  done
else
  cp -R "$source/usr/lib" "$root/usr/"
  cp -R "$source/lib" "$root/"
  find "$root/lib" "$root/usr/lib" \( -name '*.a' -o -name '*.o' -o -name gconv -o -name perl-base -o -name engines-3 \) -prune -exec rm -rf {} +
fi

(cd "$root" && find . | cpio --quiet -o -H newc -R 0:0) >"$work.cpio.new"
mv "$work.cpio.new" "$work.cpio"
rm -rf "$root"
