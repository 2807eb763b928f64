# Sourced by scripts that need Debian packages without installing them: `debian_*` works below .setup/debian with a package index of its own.
# shellcheck shell=sh
# The mirrors are those that this system uses already; OISP_DEBIAN_MIRROR and OISP_DEBIAN_SECURITY_MIRROR name others.
DEBIAN_HOME=$OISP_ROOT/.setup/debian
DEBIAN_KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg

# debian_mirror SUITE: where the packages of a suite are.
debian_mirror() {
  case $1 in
    *-security) set -- debian-security "${OISP_DEBIAN_SECURITY_MIRROR:-}" ;;
    *) set -- debian "${OISP_DEBIAN_MIRROR:-}" ;;
  esac
  if [ -n "$2" ]; then
    printf '%s\n' "$2"
    return 0
  fi
  cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources 2>/dev/null |
    sed -n -E 's/^deb +(\[[^]]*\] +)?(https?:[^ ]+).*/\2/p; s/^URIs: *(https?:[^ ]+).*/\1/p' |
    sed 's|/*$||' | grep -E "/$1\$" | head -n 1 | grep .
}

# debian_apt SUITE ARCH COMMAND...: an apt tool that knows this suite only, believes nothing is installed, and changes nothing of the system.
debian_apt() {
  debian_index_home=$DEBIAN_HOME/$1-$2
  debian_apt_arch=$2
  debian_tool=$3
  shift 3
  "$debian_tool" -q -o "Dir::State=$debian_index_home/state" -o "Dir::State::status=$debian_index_home/status" -o "Dir::Cache=$debian_index_home/cache" \
    -o "Dir::Etc::SourceList=$debian_index_home/sources.list" -o Dir::Etc::SourceParts=/dev/null -o Dir::Etc::Preferences=/dev/null \
    -o Dir::Etc::PreferencesParts=/dev/null -o "APT::Architecture=$debian_apt_arch" -o "APT::Architectures=$debian_apt_arch" \
    -o APT::Install-Recommends=false -o APT::Sandbox::User=root -o Acquire::Languages=none -o Acquire::Retries=2 "$@"
}

# debian_index SUITE ARCH: fetches the index of a suite; its signature is checked against the keyring of Debian's archive. Why not: standard error.
debian_index() {
  mkdir -p "$DEBIAN_HOME/$1-$2/state/lists/partial" "$DEBIAN_HOME/$1-$2/cache/archives/partial"
  : >"$DEBIAN_HOME/$1-$2/status"
  debian_uri=$(debian_mirror "$1") || {
    echo "no package source of this system carries $1; set OISP_DEBIAN_MIRROR and OISP_DEBIAN_SECURITY_MIRROR" >&2
    return 1
  }
  [ -f "$DEBIAN_KEYRING" ] || {
    echo "$DEBIAN_KEYRING is missing: install debian-archive-keyring" >&2
    return 1
  }
  printf 'deb [arch=%s signed-by=%s] %s %s main\n' "$2" "$DEBIAN_KEYRING" "$debian_uri" "$1" >"$DEBIAN_HOME/$1-$2/sources.list"
  debian_apt "$1" "$2" apt-get -o APT::Update::Error-Mode=any update >"$DEBIAN_HOME/$1-$2/log" 2>&1 || {
    grep -E '^E:' "$DEBIAN_HOME/$1-$2/log" | head -n 1 >&2
    return 1
  }
}

# debian_fetch SUITE ARCH FOLDER PACKAGE...: unpacks these packages, and nothing that they depend on, into a folder. Why not: standard error.
debian_fetch() {
  debian_log=$DEBIAN_HOME/$1-$2/log
  debian_store=$DEBIAN_HOME/$1-$2/download
  debian_into=$3
  rm -rf "$debian_store"
  mkdir -p "$debian_store" "$debian_into"
  debian_suite=$1 debian_of=$2
  shift 3
  (cd "$debian_store" && debian_apt "$debian_suite" "$debian_of" apt-get download "$@") >"$debian_log" 2>&1 || {
    grep -E '^E:' "$debian_log" | head -n 1 >&2
    return 1
  }
  for debian_package in "$debian_store"/*.deb; do dpkg-deb -x "$debian_package" "$debian_into" || return 1; done
  rm -rf "$debian_store"
}

# debian_needs SUITE ARCH PACKAGE...: these packages and all that they need, one a line.
debian_needs() {
  debian_suite=$1 debian_of=$2
  shift 2
  debian_apt "$debian_suite" "$debian_of" apt-get install --simulate -y "$@" | sed -n 's/^Inst \([^ ]*\) .*/\1/p' | sed 's/:.*//' | sort -u
}

# debian_depends SUITE ARCH PACKAGE PREFIX: the package with this beginning that the package depends on, if any.
debian_depends() {
  debian_apt "$1" "$2" apt-cache show --no-all-versions "$3" | sed -n 's/^Depends: //p' | tr ',' '\n' | sed -n "s/^ *\($4[^ ]*\).*/\1/p" | head -n 1
}
