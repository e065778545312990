#!/bin/sh
# Makes the checkout ready to run: Debian packages where they are missing, and a virtual environment in .venv with
# arrayfs (editable) and what its tests need. Does nothing, quickly, when all of this is there. Says nothing unless
# something fails. Needs root, or sudo, only to install packages.
set -eu
cd "$(dirname "$0")/.."

log=$(mktemp)
trap 'rm -f "$log"' EXIT

fail() {
    cat "$log" >&2
    echo "setup: $1" >&2
    exit 1
}

quietly() {
    "$@" >"$log" 2>&1 || fail "failed: $*"
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo -- "$@"; fi
}

install_packages() {
    command -v apt-get >/dev/null || fail "please install what Debian calls: $*"
    quietly as_root env DEBIAN_FRONTEND=noninteractive apt-get -q update
    quietly as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends install "$@"
}

# pyfuse3 comes as source only (3.5.0), so building it needs a compiler, libfuse3 and Python's headers.
missing_packages() {
    command -v fusermount3 >/dev/null || echo fuse3
    command -v gcc >/dev/null || echo gcc libc6-dev
    command -v pkg-config >/dev/null || echo pkg-config
    pkg-config --exists fuse3 2>/dev/null || echo libfuse3-dev
}

is_usable() {
    "$1" - >/dev/null 2>&1 <<'END'
import sys, sysconfig, os, venv, ensurepip
assert sys.version_info >= (3, 11)
assert os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h"))
END
}

# The first Python, 3.11 or later, that can make virtual environments and has its headers.
find_python() {
    for candidate in python3 /usr/bin/python3 python3.14 python3.13 python3.12 python3.11; do
        path=$(command -v "$candidate") || continue
        if is_usable "$path"; then
            echo "$path"
            return
        fi
    done
}

packages=$(missing_packages)
python=$(find_python)
[ -n "$python" ] || packages="$packages python3-venv python3-dev"
if [ -n "$packages" ]; then
    # shellcheck disable=SC2086  # one word each
    install_packages $packages
    python=$(find_python)
fi
[ -n "$python" ] || fail "no Python 3.11 or later with venv and headers was found"

# The stamp holds what was installed from what, so that a changed pyproject.toml or Python installs again.
wanted="$PWD $python $("$python" -V) $(cksum <pyproject.toml)"
if [ "$(cat .venv/installed 2>/dev/null)" != "$wanted" ]; then
    # A pip that finds no home would put its cache into the root folder.
    [ -n "${HOME:-}" ] || export PIP_NO_CACHE_DIR=1
    quietly "$python" -m venv --clear .venv
    quietly .venv/bin/python -m pip --disable-pip-version-check install -q -e '.[test]'
    echo "$wanted" >.venv/installed
fi
