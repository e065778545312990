"""One case on a mount of its own: written, looked at, unmounted, mounted again, looked at; then in the v2 look."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from arrayfs.container.container import Container
from arrayfs.container.verify import verify
from arrayfs.errors import ArrayFSError
from arrayfs.fuse import mountinfo
from arrayfs.fuse.mount import MountRequest, mount
from arrayfs.fuse.unmount import umount
from arrayfs.view.autocommit import open_writable_tree
from arrayfs.view.checks import check_files

# Longer than any case takes, so that one that hangs ends; a hanging client's mount is taken away with it.
LONGEST_SECONDS: Final = 300
NAMES_SHOWN: Final = 4


@dataclass(frozen=True, slots=True)
class Step:
    """A command; `{folder}` in an argument is where it works, which is also its working directory."""

    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)

    def run(self, folder: Path) -> None:
        """Raises TrialError with the last lines of what it said."""
        command = [argument.replace("{folder}", str(folder)) for argument in self.command]
        environment = os.environ | dict(self.environment)
        try:
            done = subprocess.run(
                command,
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                timeout=LONGEST_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise TrialError(f"no end after {LONGEST_SECONDS} s") from None
        if done.returncode:
            raise TrialError(done.stdout.strip()[-2000:] or f"exit code {done.returncode}")


@dataclass(frozen=True, slots=True)
class Case:
    """client, name: in the table. write: what puts something into an empty folder; checks: what then must succeed.

    varies: directories below the folder (".": all of it) of which a second run would write other bytes: a folder on the
    disk does not tell what a mount should have.
    """

    client: str
    name: str
    write: Step
    checks: tuple[Step, ...]
    varies: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """failed: where and why, empty if all went well; departs: what is otherwise than on the disk all the same."""

    failed: str = ""
    departs: tuple[str, ...] = ()


class TrialError(Exception):
    """A step failed, or content changed."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A file or directory as stat and its bytes have it; digest: of a file's bytes."""

    kind: int
    mode: int
    size: int
    mtime_ns: int
    digest: str


def try_case(case: Case, where: Path) -> Outcome:
    """Whatever happens, nothing stays mounted."""
    with tempfile.TemporaryDirectory(prefix="arrayfs-clients-", dir=where) as name:
        place = Place(Path(name))
        try:
            return Outcome(departs=tuple(_try(case, place)))
        except TrialError as error:
            return Outcome(f"{error}{_on_the_disk(case, place.disk)}")
        finally:
            place.take_away()


def _on_the_disk(case: Case, disk: Path) -> str:
    """Whether the same fails there too: then it is no fault of the mount."""
    try:
        shutil.rmtree(disk)
        disk.mkdir()
        case.write.run(disk)
        _check(case, disk)
    except TrialError as error:
        return f"\nfails on the disk too: {error}"
    return "\nworks on the disk"


class Place:
    """A container, a mount point, and a folder on the disk for comparison. Mounting forks: no thread may run."""

    def __init__(self, folder: Path) -> None:
        self.container = folder / "data/c.af"
        self.mountpoint = folder / "mnt"
        self.disk = folder / "disk/t"
        for path in (self.container.parent, self.mountpoint, self.disk):
            path.mkdir(parents=True)
        Container.create(str(self.container))

    @contextlib.contextmanager
    def mounted(self, look: int = 3) -> Iterator[Path]:
        """The folder in the mount that a case has for itself. Raises TrialError if mounting or unmounting fails."""
        opened = partial(open_writable_tree, str(self.container), look=look)
        try:
            mount(MountRequest(str(self.container), str(self.mountpoint), opened))
            yield self.mountpoint / "t"
            umount(str(self.mountpoint))
        except ArrayFSError as error:
            raise TrialError(f"arrayfs: {error}") from error

    def warnings(self) -> list[str]:
        """What the daemon has to say."""
        status: dict[str, list[str]] = json.loads((self.mountpoint / ".arrayfs/status.json").read_bytes())
        return status["warnings"]

    def take_away(self) -> None:
        """Unmount what a failed case left."""
        while mountinfo.mount_at(str(self.mountpoint)) is not None:
            subprocess.run(["fusermount3", "-u", "-z", str(self.mountpoint)], check=True)


def _try(case: Case, place: Place) -> Iterator[str]:
    """Yields what departs. Raises TrialError."""
    with place.mounted() as folder:
        folder.mkdir()
        with _saying("writing"):
            case.write.run(folder)
        with _saying("checking in the same mount"):
            _check(case, folder)
        written = look(folder)
        yield from (f"warning: {warning}" for warning in place.warnings())
    with place.mounted() as folder, _saying("mounted again"):
        found = look(folder)
        _expect_same(written, found)
        yield from _times_and_modes(written, found)
        _check(case, folder)
    with place.mounted(2) as folder, _saying("mounted again in the v2 look"):
        _expect_same(written, look(folder))
    findings = [str(finding) for finding in verify(str(place.container), lambda *_: None, [check_files])]
    if findings:
        raise TrialError(f"verify: {findings}")
    yield from _departures(case, place.disk, written)


def _check(case: Case, folder: Path) -> None:
    for check in case.checks:
        check.run(folder)


def _departures(case: Case, disk: Path, written: dict[str, Entry]) -> Iterator[str]:
    """What is otherwise than in a plain folder in which the same was done."""
    if "." in case.varies:
        return
    with _saying("on the disk"):
        case.write.run(disk)
    there = look(disk)
    written, there = (
        {name: entry for name, entry in tree.items() if name.partition("/")[0] not in case.varies}
        for tree in (written, there)
    )
    yield from _named("missing", there.keys() - written.keys())
    yield from _named("more than on the disk", written.keys() - there.keys())
    both = there.keys() & written.keys()
    yield from _named(
        "other bytes than on the disk", (name for name in both if there[name].digest != written[name].digest)
    )
    yield from _named("other mode than on the disk", (name for name in both if there[name].mode != written[name].mode))


def look(folder: Path) -> dict[str, Entry]:
    """Everything below a folder, by relative path."""
    return {str(path.relative_to(folder)): _entry(path) for path in sorted(folder.rglob("*"))}


def _entry(path: Path) -> Entry:
    found = path.lstat()
    digest = ""
    if stat.S_ISREG(found.st_mode):
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            if file.tell() != found.st_size:
                raise TrialError(f"{path}: {file.tell()} bytes read, {found.st_size} in stat")
    return Entry(stat.S_IFMT(found.st_mode), stat.S_IMODE(found.st_mode), found.st_size, found.st_mtime_ns, digest)


def _expect_same(before: dict[str, Entry], now: dict[str, Entry]) -> None:
    lost, new = sorted(before.keys() - now.keys()), sorted(now.keys() - before.keys())
    if lost or new:
        raise TrialError(f"gone: {lost[:NAMES_SHOWN]}; new: {new[:NAMES_SHOWN]}")
    changed = [
        name for name in before if (before[name].kind, before[name].digest) != (now[name].kind, now[name].digest)
    ]
    if changed:
        raise TrialError(f"{len(changed)} files have other bytes: {changed[:NAMES_SHOWN]}")


def _times_and_modes(before: dict[str, Entry], now: dict[str, Entry]) -> Iterator[str]:
    """Of directories the time lasts as long as the mount, as SEMANTICS.md says: it is left out."""
    files = [name for name, entry in before.items() if stat.S_ISREG(entry.kind)]
    yield from _named("other mode when mounted again", (n for n in before if before[n].mode != now[n].mode))
    yield from _named("other time when mounted again", (n for n in files if before[n].mtime_ns != now[n].mtime_ns))


def _named(what: str, names: Iterator[str] | set[str]) -> Iterator[str]:
    found = sorted(names)
    if found:
        yield f"{what}: {len(found)}, {', '.join(found[:NAMES_SHOWN])}"


@contextlib.contextmanager
def _saying(when: str) -> Iterator[None]:
    try:
        yield
    except (TrialError, OSError) as error:
        raise TrialError(f"{when}: {error}") from None
