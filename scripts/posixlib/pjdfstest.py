"""The command: `scripts/pjdfstest [--write PAGE]`. Every test that fails must have a reason in docs/SEMANTICS.md."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from posixlib.mounting import Mount

# What is measured on the local disk too: all that a mount could have.
_CONFIG = """
[features]
posix_fallocate = {}
utime_now = {}
utimensat = {}
[settings]
naptime = 0.001
allow_remount = false
expected_failures = []
[dummy_auth]
entries = [["nobody", "nogroup"], ["daemon", "daemon"]]
"""
# Why a test fails on a mount: what its name is like, and the words of docs/SEMANTICS.md. The first that fits counts.
REASONS = {
    r"::(block|char|fifo|socket)$|^mkfifo::|^open::(fifo|socket)|^mknod::(changed_time_fields|permission_bits)": (
        "Device nodes, FIFOs and sockets: EPERM"
    ),
    r"uid_gid_eq|^chmod::(change_perm|clear_isgid)|share_metadata|preserve_metadata": (
        "There is one owner for all: files that others make in a mount with allow_other are the mounting user's."
    ),
    r"^rename::updates_link_parent$": "st_nlink of a directory is always 1, as where it is not counted",
    r"^utimensat::": "there is no time of access but this",
}
_RESULT = re.compile(r"^(\S+::\S+)\s+(ok|FAILED|skipped)$")


def main() -> int:
    """1 if a test fails without a reason, or only on the disk; 2 if there is no pjdfstest."""
    wanted = _arguments()
    program = os.environ.get("ARRAYFS_PJDFSTEST") or shutil.which("pjdfstest")
    if program is None or os.getuid():
        print("pjdfstest: needs root, and `cargo install pjdfstest`, or ARRAYFS_PJDFSTEST", file=sys.stderr)
        return 2
    folder = Path(tempfile.mkdtemp(prefix="pjdfstest-", dir=wanted.dir))
    folder.chmod(0o755)  # its tests change users
    mount = Mount(folder, "-o", "allow_other")
    (folder / "disk").mkdir()
    try:
        mount.start()
        here, disk = _run(program, folder, mount.point), _run(program, folder, folder / "disk")
        mount.end()
        mount.verify()
    finally:
        mount.take_away()
    shutil.rmtree(folder)
    unexplained = [name for name, result in here.items() if result == "FAILED" and not _reason(name)]
    if wanted.write:
        wanted.write.write_text(_page(here, disk))
    print(f"mount: {_counted(here)}\ndisk: {_counted(disk)}\nwithout a reason: {unexplained or 'none'}")
    return bool(unexplained)


def _run(program: str, folder: Path, path: Path) -> dict[str, str]:
    """What each test says, by name: ok, FAILED or skipped."""
    config = folder / "pjdfstest.toml"
    config.write_text(_CONFIG)
    environment = os.environ | {"NO_COLOR": "1", "RUST_BACKTRACE": "0"}
    command = [program, "-c", str(config), "-p", str(path)]
    said = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True, env=environment).stdout
    return {found[1]: found[2] for line in said.splitlines() if (found := _RESULT.match(line.rstrip()))}


def _reason(name: str) -> str:
    return next((words for pattern, words in REASONS.items() if re.search(pattern, name)), "")


def _counted(results: dict[str, str]) -> str:
    return ", ".join(f"{count} {result}" for result, count in sorted(Counter(results.values()).items()))


def _page(here: dict[str, str], disk: dict[str, str]) -> str:
    """docs/PJDFSTEST.md."""
    lines = [
        "# What pjdfstest says of a mount",
        "",
        "pjdfstest (crates.io, 0.2.2) asks a file system whether it does what POSIX says. `scripts/pjdfstest --write",
        "docs/PJDFSTEST.md` makes this page: all tests run as root, on a mount with `-o allow_other` and on the",
        "local disk (ext4). It ends with 1 if a test fails for which [SEMANTICS.md](SEMANTICS.md) has no sentence.",
        "Skipped is what needs another operating system, a second file system, or a remount.",
        "",
        f"Mount: {_counted(here)}. Disk: {_counted(disk)}.",
        "",
        "## Why tests fail",
        "",
        "| sentence of SEMANTICS.md | tests |",
        "|---|---|",
    ]
    failed = Counter(_reason(name) for name, result in here.items() if result == "FAILED")
    lines += [f"| {words or 'none'} | {count} |" for words, count in failed.most_common()]
    lines += ["", "## All tests", "", "| test | mount | disk |", "|---|---|---|"]
    lines += [f"| {name} | {here[name]} | {disk.get(name, '')} |" for name in sorted(here)]
    return "\n".join(lines) + "\n"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/pjdfstest", description="pjdfstest on a mount and on the disk")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="where the page goes: docs/PJDFSTEST.md")
    parser.add_argument("--dir", help="where the container and the mount are")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
