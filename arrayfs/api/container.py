"""A container in Python: `arrayfs.open`, versions, and when what was written is safe.

A `with` block is one commit: leaving it normally makes a version, leaving it by an exception leaves the container as it
was. In between, `commit` makes versions, and `flush` has what was written survive the end of the process.
"""

from __future__ import annotations

import os
from contextlib import nullcontext, suppress
from types import TracebackType
from typing import Any, Literal, Self

from arrayfs.api import stats
from arrayfs.api.group import Group, clear_root
from arrayfs.api.session import Life, Progress, Session
from arrayfs.api.stats import Statistics
from arrayfs.container.commit import CommitReport
from arrayfs.container.container import Container as Layers
from arrayfs.container.container import ContainerOptions
from arrayfs.container.merge import OnConflict
from arrayfs.container.pool import BLOCK_SIZE, PoolOptions
from arrayfs.container.statistics import write_stats
from arrayfs.container.versions import Version
from arrayfs.errors import MissingObjectError, ObjectExistsError
from arrayfs.format.codecs import check_codec
from arrayfs.store import LocalStore, open_store
from arrayfs.view.takeup import not_shown, take_up

Mode = Literal["r", "a", "w", "x"]
_MODES = ("r", "a", "w", "x")


class Container(Group):
    """An open container, which is its root group. Use it in a `with` block, or `close` it.

    Where that is forgotten, it is closed, and so committed, when the last object of it goes or the process ends.
    """

    __slots__ = ()

    @property
    def read_only(self) -> bool:
        """Whether it was opened for reading."""
        return self._session.container.read_only

    @property
    def version(self) -> int:
        """The number of the newest version that is looked at."""
        return self._session.container.version

    @property
    def dirty(self) -> bool:
        """Whether there is anything to commit."""
        return not self.read_only and self._session.container.dirty

    @property
    def warnings(self) -> list[str]:
        """What was found that the user should know, such as a killed writer's work that was taken up."""
        return list(self._session.tree.warnings)

    def __repr__(self) -> str:
        state = "closed" if self._session.closed else f"version {self.version}"
        return f"<arrayfs.Container {self._session.container.names.base!r} {state}>"

    # --- versions -----------------------------------------------------------------------------------------------------

    def commit(self, message: str = "", progress: Progress | None = None) -> CommitReport | None:
        """Make all changes a version, durably. None: nothing had changed. progress: bytes packed, and of how many.

        What others committed meanwhile comes below it. Raises ConflictError, naming it, where both changed the same
        (`open(on_conflict="ours")` to win), OSError where the medium fails; the changes are kept then.
        """
        return self._session.commit(message, progress)

    def discard(self) -> None:
        """Give up all changes since the last commit. Arrays and groups are found again by their names."""
        self._session.discard()

    def refresh(self) -> bool:
        """Show what others committed; whether there was anything. With uncommitted changes nothing happens."""
        return self._session.refresh()

    def versions(self) -> list[Version]:
        """All versions, oldest first."""
        with self._session.lock:
            self._session.check_open()
            return list(self._session.container.versions().versions)

    log = versions

    def tag(self, name: str, version: str | int | None = None) -> None:
        """Have a tag name a version (a number, another tag or a time; None: the newest that changed something).

        Part of the next commit. Raises VersionError.
        """
        with self._session.lock:
            self._session.check_writable()
            table = self._session.container.versions()
            chosen = table.newest_change() if version is None else table.resolve(version)
            self._session.container.tag(name, chosen.number)

    def untag(self, name: str) -> None:
        """Take a tag away, with the next commit. Raises VersionError."""
        with self._session.lock:
            self._session.check_writable()
            self._session.container.tag(name, None)

    # --- statistics ---------------------------------------------------------------------------------------------------

    def stats(self) -> dict[str, Statistics]:
        """Minimum, maximum and counts of every native array, exactly: from the statistics file where there is one."""
        with self._session.lock:
            self._session.check_open()
            return stats.of_container(self._session)

    def write_stats(self) -> None:
        """Write the statistics file of what is committed, which the Rust crate reads; the next commit removes it.

        Raises ConflictError if there are uncommitted changes.
        """
        with self._session.lock:
            self._session.check_writable()
            write_stats(self._session.container, stats.native_names(self._session))

    def attribute_index(self, key: str) -> dict[str, Any]:
        """The arrays and groups that have an attribute, and its value in each, by their names; the root's is empty."""
        found = {node.path: node.attrs for node in (self, *self.walk())}
        return {path: attrs[key] for path, attrs in found.items() if key in attrs}

    # --- safety -------------------------------------------------------------------------------------------------------

    def flush(self, *, sync: bool = True) -> None:
        """Have all that was written survive the end of this process, and with `sync` a loss of power; no version.

        The next open for writing then commits it, as it does with what a killed mount leaves; `discard` takes it back.
        """
        with self._session.lock:
            keeper = self._session.check_writable()
            keeper.flush()
        if sync:
            keeper.sync()

    def close(self) -> CommitReport | None:
        """Commit, and let go of the files. Closing twice is allowed.

        Raises what `commit` does: the changes are in a journal then, and the next open for writing tries them again.
        """
        return self._life.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._life.close(commit=kind is None)


def open(
    url: str | os.PathLike[str],
    mode: Mode = "r",
    *,
    version: str | int | None = None,
    codec: str | None = "lz4",
    block_size: int = BLOCK_SIZE,
    dirty_limit: int = 256 << 20,
    cache_size: int = 128 << 20,
    journal_dir: str | os.PathLike[str] | None = None,
    on_conflict: OnConflict = "fail",
    chunk_stats: bool | None = None,
) -> Container:
    """Open a container.

    url: a path, or a URL that a store is known for. mode: "r" to read; "a" to change, made if it is not there; "w" to
    begin with nothing (what was there goes with the first commit, and stays in the earlier versions); "x" to make it:
    ObjectExistsError if it is there. version: in mode "r", a number, a tag or a time.
    codec: None, "lz4", "zstd" or one that an installed package adds, for arrays that have none of their own.
    block_size: bytes that small chunks are packed to. dirty_limit: bytes of changes kept in memory; beyond it they are
    packed into the next sidecar. cache_size: bytes of unpacked blocks kept in memory. journal_dir: where `flush`
    writes, by default beside the container. on_conflict: what a commit does where another writer changed the same:
    "fail", or "ours" wins. chunk_stats: whether the smallest and largest element and the null count of each chunk of
    numbers that is packed are kept, so that statistics need not read it; None: as the newest version has it, at first
    not.

    Opening for writing first takes up what killed writers left in their journals (`warnings` says so). Any number of
    programs may have it open, also for writing.
    Raises MissingObjectError, FormatError (naming file and place), VersionError, StoreURLError.
    """
    if mode not in _MODES:
        raise ValueError(f"mode {mode!r}: one of {', '.join(_MODES)} is wanted")
    check_codec(codec)
    location = os.fspath(url)
    if mode != "r":
        _make(location, mode)
    options = ContainerOptions(PoolOptions(codec, block_size, dirty_limit, chunk_stats), cache_size, on_conflict)
    layers = Layers.open(location, "r" if mode == "r" else "a", options, version)
    try:
        journals = None if journal_dir is None else LocalStore(os.fspath(journal_dir))
        if mode == "r":
            layers.warnings += not_shown(layers, journals)
        else:
            take_up(layers, journals)
        session = Session(layers, journals)
    except BaseException:
        layers.close()
        raise
    if mode == "w":
        try:
            clear_root(session)
        except BaseException:
            session.close(commit=False)
            raise
    return Container(Life(session), session.root)


def _make(location: str, mode: str) -> None:
    store, base = open_store(location)
    try:
        store.open(base).close()
    except MissingObjectError:
        with suppress(ObjectExistsError) if mode != "x" else nullcontext():  # another was faster
            Layers.create(location)
    else:
        if mode == "x":
            raise ObjectExistsError(f"{location} is there already")
