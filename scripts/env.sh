# Sourced by the other scripts: sets OISP_ROOT and NODE (the pinned Node of node_modules, never a system one) and a few one-line helpers.
# shellcheck shell=sh
OISP_ROOT=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd -P)
cd "$OISP_ROOT" || exit 1

case $(uname -m) in
  x86_64 | amd64) OISP_ARCH=x64 ;;
  aarch64 | arm64) OISP_ARCH=arm64 ;;
  *) OISP_ARCH=unsupported ;;
esac
NODE=$OISP_ROOT/node_modules/node-linux-$OISP_ARCH/bin/node
export OISP_ROOT NODE

# Where the distribution's libbpf is too old, set-up built a newer one here (setup.sh); the build finds it before the system's.
if [ -f "$OISP_ROOT/.setup/libbpf/lib/libbpf.a" ]; then
  export PKG_CONFIG_PATH="$OISP_ROOT/.setup/libbpf/lib/pkgconfig" LIBRARY_PATH="$OISP_ROOT/.setup/libbpf/lib"
fi

say() { printf '%s\n' "oisp-host: $*"; }
die() {
  printf '%s\n' "oisp-host: $*" >&2
  exit 1
}

# need_node: stops with one sentence when set-up has not run; for scripts that do not run it themselves.
need_node() {
  [ -x "$NODE" ] || die "the pinned Node is not installed yet: run sh scripts/setup.sh first"
}
