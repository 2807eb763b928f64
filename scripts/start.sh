#!/bin/sh
# `npm start -- ARGS`: sets up, builds, and becomes `oisp-host run ARGS` with the privileges that it needs; never installs the daemon.
set -eu
. "$(dirname -- "$0")/env.sh"
from=${INIT_CWD:-$OISP_ROOT}

sh scripts/setup.sh base >&2
sh scripts/build.sh >&2

# Paths on the command line mean what they meant where npm was called.
cd "$from" 2>/dev/null || cd "$OISP_ROOT"
launcher=$OISP_ROOT/bin/oisp-host
if [ "$(id -u)" = 0 ]; then exec "$launcher" run "$@"; fi
command -v sudo >/dev/null 2>&1 || {
  printf '%s\n' "oisp-host: capturing needs root: run npm start as root, or install sudo" >&2
  exit 3
}
sudo -n true 2>/dev/null || sudo -v || {
  printf '%s\n' "oisp-host: capturing needs root and sudo refused: run npm start as root" >&2
  exit 3
}
if sudo -n -E true 2>/dev/null; then exec sudo -E "$launcher" run "$@"; fi
exec sudo "$launcher" run "$@"
