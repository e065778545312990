"""What ordinary programs do to files, as lines of shell: written in an empty folder, then checked.

`$SAMPLE` is a folder on the disk with the tree of `sample.py`, `$OUT` an empty one on the disk that each step
begins with, `$PYTHON` a Python with zarr-python. Each step begins with PRELUDE. A check must not change anything.
"""

from __future__ import annotations

from typing import NamedTuple


class Tool(NamedTuple):
    """program: what must be there for it; package: where Debian has it. varies: as in `trial.Case`."""

    program: str
    package: str
    name: str
    write: str
    check: str
    varies: tuple[str, ...] = ()


# list: of files path, mode, size, time to the nanosecond; of directories the path only.
PRELUDE = r"""
set -eu
rm -rf "$OUT"; mkdir "$OUT"
bring() { cp -a $SAMPLE tree; }
same() { diff -r $SAMPLE tree; }
list() { (cd $1; find . -type f -printf '%P %m %s %T@\n' -o -printf '%P/\n' | sort); }
same_stat() { same; list $SAMPLE >$OUT/1; list tree >$OUT/2; diff $OUT/1 $OUT/2; }
none_to_send() { test -z "$(rsync -ain "$@" $SAMPLE/ tree/ | grep -v '^.d')"; }
CHUNK=tree/store/native/c/1/2
# C and C++ libraries write Zarr v2
is_range() {
    $PYTHON -c "import sys, zarr; v = zarr.open_array(sys.argv[1], mode='r', zarr_format=2)[...]
assert v.shape == (7, 50) and v.ravel().tolist() == list(range(350)), v" $1
}
"""
