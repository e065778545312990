"""The original Rust crate, asked through the program in `../shared/interop`.

`ARRAYFS_AFDUMP` may name one that is built already; else it is built once with cargo, into the user's cache folder.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.mounts import ROOT

SOURCE = ROOT.parent / "shared" / "interop"
# What 0.14 adds to a layer is read by 0.12 too; both read footer version 5.
CRATES = ((), ("--crate", "0.14"))


@functools.cache
def program() -> Path:
    """The program; skips the test that asks where it cannot be had."""
    named = os.environ.get("ARRAYFS_AFDUMP")
    if named:
        return Path(named)
    cargo = shutil.which("cargo")
    if not (SOURCE / "Cargo.toml").is_file() or cargo is None:
        pytest.skip("needs cargo and the Rust program of ../shared/interop, or ARRAYFS_AFDUMP")
    target = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "arrayfs-interop"
    command = [cargo, "build", "--release", "--locked", "--target-dir", str(target)]
    built = subprocess.run(
        [*command, "--manifest-path", str(SOURCE / "Cargo.toml")], capture_output=True, text=True, check=False
    )
    if built.returncode:
        pytest.skip(f"cargo could not build the Rust program: {built.stderr[-500:]}")
    return target / "release" / "afdump"


def reads(container: Path, *options: str) -> dict[str, dict[str, Any]]:
    """Array name -> what the crate answers."""
    command = [program(), container, "--no-layers", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr or done.stdout
    return {array["name"]: array for array in json.loads(done.stdout)["arrays"]}


def compact(container: Path) -> None:
    """The crate's own compaction, in place."""
    subprocess.run([program(), "compact", container], capture_output=True, check=True)
