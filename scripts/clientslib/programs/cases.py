"""A module of cases: `write_NAME(folder)` puts something into an empty folder, `check_NAME(folder)` says whether it is
still there.

Both run in processes of their own, the check several times, so it computes what it expects anew. A check fails by
raising. As a program: `MODULE write|check FOLDER` does all, each in a directory of its name below FOLDER, and goes on
where one fails; `MODULE write|check FOLDER NAME` one, in FOLDER itself.
"""

from __future__ import annotations

import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple


class Case(NamedTuple):
    """The two halves."""

    write: Callable[[Path], None]
    check: Callable[[Path], None]


def cases(module: dict[str, Any]) -> dict[str, Case]:
    """All of a module, given its `globals()`, by name with spaces for underscores."""
    names = [name.removeprefix("write_") for name in module if name.startswith("write_")]
    return {name.replace("_", " "): Case(module[f"write_{name}"], module[f"check_{name}"]) for name in names}


def main(found: dict[str, Case]) -> None:
    """The command line of a module of cases."""
    # A library's opinion about its own types or about threads is not the file system's fault.
    warnings.simplefilter("ignore")
    step, folder, *names = sys.argv[1:]
    if names:
        getattr(found[names[0]], step)(Path(folder))
        return
    failed = [name for name, case in found.items() if not _succeeds(getattr(case, step), name, Path(folder, name))]
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


def _succeeds(half: Callable[[Path], None], name: str, folder: Path) -> bool:
    folder.mkdir(exist_ok=True)
    try:
        half(folder)
    except Exception:  # noqa: BLE001  whatever it is, the other cases are tried
        print(f"{name}: {traceback.format_exc(limit=-3)}")
        return False
    return True


def expect(found: object, expected: object, what: str = "") -> None:
    """Raise AssertionError unless both are equal."""
    if found != expected:
        raise AssertionError(f"{what}: {found!r}, not {expected!r}")
