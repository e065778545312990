"""A container as a store of zarr-python: when it is opened and committed, its copies and its sessions."""

from __future__ import annotations

import errno
import os
import re
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self

from arrayfs.api.connection import Connection, Source, finalizer, share
from arrayfs.api.usage import Figures, Usage
from arrayfs.api.zarr_store.values import ValueStore
from arrayfs.container.commit import CommitReport
from arrayfs.container.merge import OnConflict
from arrayfs.container.pool import BLOCK_SIZE
from arrayfs.errors import RefusedError
from arrayfs.view.keys import Keys
from arrayfs.view.pieces import Piece, PieceTree, SessionTree

if TYPE_CHECKING:
    import weakref

    from arrayfs.view.tree import Tree

_IS_URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://").match


class ZarrStore(ValueStore):
    """A container, as zarr-python, xarray and Dask take a store.

    What is set becomes a version with `commit`, when the store is closed or nobody has it any more, and at the end of
    the interpreter; until then a journal keeps it. Nothing that others commit shows before `refresh` (or the next
    commit). A pickled store commits first, so that every copy sees what it saw; the copy commits by itself.
    """

    def __init__(
        self,
        container: str | os.PathLike[str],
        *,
        read_only: bool = False,
        version: str | int | None = None,
        zarr_format: int = 3,
        codec: str | None = "lz4",
        block_size: int = BLOCK_SIZE,
        on_conflict: OnConflict = "fail",
        journal_dir: str | os.PathLike[str] | None = None,
        autocommit: float = 1.0,
        log: str | os.PathLike[str] | None = None,
    ) -> None:
        """container: path or URL; one that is not there is made when the store is opened for writing.

        version: a number, a tag or a time, to read instead of the newest. zarr_format: of metadata that no client
        wrote. codec, block_size: how what is written is packed. on_conflict: "ours" if this store's commits win over
        what others changed meanwhile. journal_dir: for the journal, by default beside the container. autocommit:
        seconds after which an idle copy commits. log: a file that gets a line of JSON for each operation.
        """
        source = Source(
            url=_absolute(os.fspath(container)),
            read_only=read_only or version is not None,
            version=version,
            look=zarr_format,
            codec=codec,
            block_size=block_size,
            on_conflict=on_conflict,
            journal_dir=None if journal_dir is None else os.path.abspath(os.fspath(journal_dir)),
        )
        self._begin(source, source.read_only, autocommit, None if log is None else os.path.abspath(os.fspath(log)))

    def _begin(self, source: Source, read_only: bool, autocommit: float, log: str | None) -> None:
        super().__init__(read_only=read_only)
        self._source = source
        self._autocommit = autocommit
        self._usage = Usage(log)
        self._connection: Connection | None = None
        self._finalizer: weakref.finalize[..., object] | None = None
        # a copy: what it must show, the id of a version; b"" for one that was not handed over while it was open
        self._seen: bytes | None = None

    # --- its life -----------------------------------------------------------------------------------------------------

    async def _open(self) -> None:
        await super()._open()
        self._keys()

    def _keys(self) -> Keys:
        """What the store works on, opened if need be."""
        connection = self._connection
        keys = None if connection is None else connection.keys
        return self._connect() if keys is None else keys

    def _connect(self) -> Keys:
        old = self._connection
        if old is not None and old.left_behind:
            raise RefusedError(
                errno.EBUSY,
                f"{self._source.url}: this process was forked off while the store had changes that were not committed: "
                "commit before, or hand over a pickled store",
            )
        if self._seen is None and old is None:
            connection = Connection.open(self._source)
            connection.attach()
        else:
            connection = share(self._source, self._autocommit, self._seen or b"")
        self._attached(connection)
        keys = connection.keys
        assert keys is not None
        return keys

    def _attached(self, connection: Connection) -> None:
        if self._finalizer is not None:
            self._finalizer.detach()
        self._connection = connection
        self._finalizer = finalizer(self, connection)
        self._is_open = True

    @property
    def tree(self) -> Tree:
        """The tree that the store works on."""
        return self._keys().tree

    @property
    def version(self) -> int:
        """The number of the version that the store shows, or that its changes go on from."""
        return self.tree.container.version

    def close(self) -> None:
        """Commit what was set. The store can be used again: it opens the container anew. Closing twice is allowed."""
        try:
            if self._connection is not None and not self.read_only:
                self._connection.commit()
        finally:
            self._detach()

    def _detach(self) -> None:
        self._is_open = False
        connection, self._connection = self._connection, None
        if self._finalizer is not None:
            self._finalizer.detach()
            self._finalizer = None
        if connection is not None:
            connection.detach()

    def commit(self, message: str = "") -> CommitReport | None:
        """Make what was set a new version, durably. None: nothing had changed.

        Raises ConflictError where others changed the same; what was set is kept then.
        """
        self._check_writable()
        self._keys()
        return None if self._connection is None else self._connection.commit(message)

    def refresh(self, wait: float = 0.0) -> bool:
        """Show what others committed since; whether there was anything. A store with changes does so when it commits.

        wait: seconds that copies, and other writers of the container on any machine, may take to commit what they have.
        """
        tree = self.tree
        until = time.monotonic() + wait
        while wait and tree.others_are_writing() and time.monotonic() < until:
            time.sleep(0.02)
        return tree.refresh()

    def with_read_only(self, read_only: bool = False) -> ZarrStore:
        """The same container. A store that only reads shows what this one has set; one that writes is on its own."""
        other = object.__new__(type(self))
        shares = read_only or not self.read_only
        source = self._source if shares else self._source.writable()
        other._begin(source, read_only, self._autocommit, self._usage.log)
        other._seen = self._seen
        if shares:
            self._keys()
            if self._connection is not None and self._connection.attach():
                other._attached(self._connection)
                other._is_open = False
        return other

    def checkout(self, version: str | int) -> ZarrStore:
        """A store that reads an earlier version: its number, its tag, or a time."""
        return type(self)(self._source.url, version=version, zarr_format=self._source.look, autocommit=self._autocommit)

    @contextmanager
    def session(self, message: str = "") -> Iterator[SessionStore]:
        """A store whose copies, wherever they work, write one version together, which is there when the block ends.

        What this store has set is committed before. Leaving by an exception gives up what the session has. Raises
        ConflictError where two copies changed a key differently, or others the same meanwhile: nothing is published
        then, and the session's store still has it (`publish` tries again).
        """
        self._check_writable()
        self.commit()
        session = SessionStore._of(self._source.session(), self._autocommit, self._usage.log)
        try:
            yield session
        except BaseException:
            session.discard()
            raise
        session.publish(message)
        self.refresh()

    def _changed(self) -> None:
        if self._connection is not None:
            self._connection.used()

    def stats(self) -> Figures:
        """Of this store object: by operation how often it was asked for, and bytes moved."""
        return self._usage.figures()

    # --- copies -------------------------------------------------------------------------------------------------------

    def __getstate__(self) -> dict[str, object]:
        seen = self._seen or b""
        connection = self._connection
        if connection is not None and connection.tree is not None:
            connection.commit()
            seen = connection.tree.container.stack.newest.id
        return {
            "source": self._source,
            "read_only": self.read_only,
            "autocommit": self._autocommit,
            "log": self._usage.log,
            "seen": seen,
        }

    def __setstate__(self, state: dict[str, object]) -> None:
        source, read_only, autocommit, log, seen = state.values()
        assert isinstance(source, Source)
        assert isinstance(autocommit, float | int)
        assert isinstance(log, str | None)
        assert isinstance(seen, bytes)
        self._begin(source, bool(read_only), float(autocommit), log)
        self._seen = seen

    def __dask_tokenize__(self) -> tuple[object, ...]:
        """What tells it from others: without this Dask would pickle it, and so have it commit."""
        return (type(self).__name__, self._source, self.read_only)

    def __eq__(self, value: object) -> bool:
        return (
            type(value) is type(self)
            and isinstance(value, ZarrStore)
            and (value._source, value.read_only) == (self._source, self.read_only)
        )

    __hash__ = None  # type: ignore[assignment]

    def __str__(self) -> str:
        return self._source.url

    def __repr__(self) -> str:
        version = "" if self._source.version is None else f", version={self._source.version!r}"
        read_only = ", read_only=True" if self.read_only and not version else ""
        return f"{type(self).__name__}({self._source.url!r}{version}{read_only})"


class SessionStore(ZarrStore):
    """A store within a session; made by `ZarrStore.session`, and copied to those who help by pickling it."""

    _is_begun = False

    @classmethod
    def _of(cls, source: Source, autocommit: float, log: str | None) -> Self:
        made = cls.__new__(cls)
        made._begin(source, False, autocommit, log)
        made._keys()
        made._is_begun = True
        return made

    def _connect(self) -> Keys:
        if self._is_begun:
            raise RefusedError(
                errno.ESTALE,
                f"{self._source.url}: this session is over, or another process's: hand over a pickle",
            )
        return super()._connect()

    def __getstate__(self) -> dict[str, object]:
        tree = self.tree
        return {
            "source": self._source.piece(tree.assign()) if isinstance(tree, SessionTree) else self._source,
            "read_only": self.read_only,
            "autocommit": self._autocommit,
            "log": self._usage.log,
            "seen": b"",
        }

    def commit(self, message: str = "") -> CommitReport | None:
        """Nothing: there is one version, when the session is over."""
        return None

    def close(self) -> None:
        """Nothing: the session goes on until its block ends."""

    def publish(self, message: str = "") -> CommitReport | None:
        """Publish all that the session has as one version; the end of the block does that."""
        tree = self._begun()
        report = tree.publish(message)
        self._detach()
        return report

    def discard(self) -> None:
        """Give up all that the session has."""
        self._begun().abandon()
        self._detach()

    def part(self) -> Piece | None:
        """In a copy: what was set through it and others in this process, for `merge`. None: nothing."""
        tree = self.tree
        return tree.piece() if isinstance(tree, PieceTree) else None

    def merge(self, parts: Iterable[Piece | None]) -> None:
        """Show what copies have set, in this order. What is not merged is merged when the session ends.

        Raises ConflictError where two set a key differently.
        """
        self._begun().merge([part for part in parts if part is not None])

    def _begun(self) -> SessionTree:
        tree = self.tree
        if not isinstance(tree, SessionTree):
            raise RefusedError(errno.EPERM, "only the process that began a session can merge and publish it")
        return tree


def _absolute(container: str) -> str:
    return container if _IS_URL(container) else os.path.abspath(container)
