"""Files into a store of zarr-python, whichever: the part of an export that imports it.

A store cannot take back what it was given, so metadata documents come last: what is interrupted is no array or group
that anybody could take for whole. Icechunk wants them first, and shows nothing before its commit. What a store holds
before is not touched unless it is to be replaced.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from arrayfs.copying.target import Content
from arrayfs.copying.walking import Entry
from arrayfs.errors import TargetError

if TYPE_CHECKING:
    from zarr.abc.store import Store


class StoreTarget:
    """See `FileTarget`. A store knows keys and values: no modes, no times, no directories, no symbolic links."""

    parallel = True

    def __init__(self, store: Store, prefix: str = "", *, overwrite: bool) -> None:
        """prefix: a path in the store. Raises TargetError if there is something already."""
        from zarr.core.buffer import default_buffer_prototype
        from zarr.core.sync import sync

        self._sync: Any = sync
        self._prototype = default_buffer_prototype()
        self._store = store
        self._start = f"{prefix}/" if prefix else ""
        self._written = False
        if store.read_only:
            raise TargetError(f"{store} is open for reading")
        self._full = not sync(store.is_empty(prefix))
        if self._full and not overwrite:
            raise TargetError(f"{store} is not empty; --overwrite replaces what is there")

    def begin(self) -> None:
        if self._full:
            self._clear()

    @property
    def documents_last(self) -> bool:
        """Whether chunks may come before the document of their array."""
        return not type(self._store).__module__.startswith("icechunk")

    def _clear(self) -> None:
        self._sync(self._store.delete_dir(self._start.rstrip("/")) if self._start else self._store.clear())
        self._written = False

    def accept(self, entry: Entry) -> None:
        if entry.is_link:
            raise TargetError(f"{entry.path}: a symbolic link, which a store cannot hold")

    def directory(self, entry: Entry) -> None:
        """Directories come with what is in them."""

    def put(self, entry: Entry, content: Content) -> None:
        self._written = True
        value = self._prototype.buffer.from_bytes(bytes(content))
        try:
            self._sync(self._store.set(self._start + entry.path, value))
        except OSError:
            raise
        except Exception as error:  # whatever a store says of a key that it does not take
            raise TargetError(f"{entry.path}: the store does not take it: {type(error).__name__}: {error}") from error

    def put_parts(self, entry: Entry, parts: Iterable[Content], size: int | None) -> None:
        self.put(entry, b"".join(parts))  # a store takes values in one piece

    def finish(self, directories: Iterable[Entry]) -> None:
        """What was set is there."""

    def check(self, entry: Entry, parts: Iterable[Content]) -> bool:
        found = self._sync(self._store.get(self._start + entry.path, self._prototype))
        return found is not None and found.to_bytes() == b"".join(parts)

    def discard(self) -> None:
        """Take away what was written: the store was empty before."""
        if self._written:
            self._clear()


def open_store(url: str) -> tuple[Store, str]:
    """The store that zarr-python makes of a URL or path, for writing, and the path in it. Raises TargetError."""
    from zarr.core.sync import sync
    from zarr.storage._common import make_store_path

    try:
        # of file:// zarr-python makes a store that cannot make folders
        found = sync(make_store_path(url.removeprefix("file://"), mode="a"))
    except Exception as error:
        raise TargetError(f"{url}: zarr-python cannot open it: {type(error).__name__}: {error}") from error
    return found.store, found.path
