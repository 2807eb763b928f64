#!/bin/sh
# Builds native/*.cc into dist/native/oisp_native.node with plain g++; it installs nothing and does nothing when the addon is up to date.
set -eu
cd "$(dirname "$0")/.."

out=${1:-dist/native/oisp_native.node}
cxx=${CXX:-g++}
# CXXFLAGS and LDFLAGS are those of another architecture's headers and libraries, when this is a cross build.
objects=$(dirname "$out")/obj
mkdir -p "$objects"

flags="-std=c++17 -O2 -fPIC -fno-exceptions -fvisibility=hidden -pthread -Wall -Wextra -Werror -DNAPI_VERSION=9 -DNAPI_DISABLE_CPP_EXCEPTIONS -D_GNU_SOURCE ${CXXFLAGS:-}"
includes="-I native -I bpf/include -isystem node_modules/node-addon-api -isystem node_modules/node-api-headers/include $(pkg-config --cflags libbpf)"

newer() { [ ! -f "$1" ] || [ -n "$(find "$2" native bpf/include scripts/build-native.sh \( -name '*.h' -o -name '*.sh' -o -path "$2" \) -type f -newer "$1" | head -n 1)" ]; }

built=0
list=
for source in native/*.cc; do
  object=$objects/$(basename "${source%.cc}").o
  list="$list $object"
  if newer "$object" "$source"; then
    # shellcheck disable=SC2086
    "$cxx" $flags $includes -c "$source" -o "$object"
    built=1
  fi
done
if [ "$built" = 0 ] && [ -f "$out" ]; then exit 0; fi
# shellcheck disable=SC2086
"$cxx" -shared -pthread -Wl,-z,relro,-z,now -o "$out.new" $list ${LDFLAGS:-} -lbpf -lelf -lz
mv "$out.new" "$out"
