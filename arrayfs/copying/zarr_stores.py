"""Any store of zarr-python as values under keys: what its URLs lead to, and repositories of Icechunk.

zarr-python and Icechunk are optional, and imported when such a source is opened. A store's coroutines run in the event
loop of zarr-python, which may have made its connections there already; the readers' threads wait for them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

from arrayfs.copying.source import Item, Remarks, Value, path_order
from arrayfs.errors import ArrayFSError, SourceError

T = TypeVar("T")
# So many values are asked for at a time: stores over a network answer late.
READERS = 16


class ZarrStoreKeys:
    """The values of a zarr-python store, or those below a path in it. They are had as a whole, as the store gives them.

    All keys are in memory, about 200 bytes each, since a store lists them in any order.
    """

    def __init__(self, store: Any, path: str = "", name: str = "") -> None:
        """store: a `zarr.abc.store.Store`."""
        from zarr.core.buffer import default_buffer_prototype

        self.name = name or str(store)
        self.threads = READERS
        self.remarks = Remarks()
        self._store, self._prefix = store, f"{path}/" if path else ""
        self._prototype = default_buffer_prototype()
        self._keys: dict[str, None] | None = None

    def _wait(self, work: Coroutine[Any, Any, T], what: str) -> T:
        from zarr.core.sync import sync

        try:
            return sync(work)
        except ArrayFSError:
            raise
        except Exception as error:  # whatever a store raises
            raise SourceError(f"{self.name}: {what}: {type(error).__name__}: {error}") from error

    async def _listed(self) -> list[str]:
        found: AsyncIterator[str] = self._store.list_prefix(self._prefix) if self._prefix else self._store.list()
        return [key.removeprefix(self._prefix) async for key in found]

    def _known(self) -> dict[str, None]:
        if self._keys is None:
            self._keys = dict.fromkeys(sorted(self._wait(self._listed(), "its keys"), key=path_order))
        return self._keys

    def items(self) -> Iterator[Item]:
        return (Item(key, None) for key in self._known())

    def read(self, key: str) -> Value:
        found = self._wait(self._store.get(self._prefix + key, self._prototype), key)
        if found is None:
            raise SourceError(f"{self.name}: {key}: it was listed, and is not there")
        value: bytes = found.to_bytes()
        return value

    def parts(self, key: str) -> Iterator[Value]:
        yield self.read(key)

    def has(self, key: str) -> bool:
        return key in self._known()

    def close(self) -> None:
        """The store is its owner's."""


def store_of(source: object) -> ZarrStoreKeys | None:
    """A zarr-python store, store path, group or array as a source; None for anything else."""
    path = getattr(source, "store_path", source)
    store, inner = getattr(path, "store", None), getattr(path, "path", None)
    if store is not None and isinstance(inner, str):
        return ZarrStoreKeys(store, inner, str(path))
    return ZarrStoreKeys(source) if hasattr(source, "list_prefix") and hasattr(source, "get") else None


def store_at(url: str) -> ZarrStoreKeys:
    """What zarr-python finds at a URL. Raises SourceError."""
    try:
        import zarr
    except ImportError as error:
        raise SourceError(f"{url}: URLs need zarr-python (pip install 'zarr>=3.0.8'): {error}") from None
    try:
        found = store_of(zarr.open(url, mode="r"))
    except Exception as error:  # whatever fsspec, or the store behind it, raises
        raise SourceError(f"{url}: zarr-python cannot open it: {type(error).__name__}: {error}") from error
    if found is None:
        raise SourceError(f"{url}: zarr-python opens it as something without a store")
    return found


def is_icechunk(path: str) -> bool:
    """Whether a directory looks like a repository of Icechunk."""
    folder = Path(path)
    return (folder / "snapshots").is_dir() and ((folder / "refs").is_dir() or (folder / "repo").is_file())


def icechunk_at(path: str, branch: str | None, tag: str | None, snapshot: str | None) -> ZarrStoreKeys:
    """One state of an Icechunk repository, by default the end of the branch `main`. Raises SourceError."""
    try:
        import icechunk
    except ImportError as error:
        raise SourceError(f"{path}: an Icechunk repository needs icechunk (pip install icechunk): {error}") from None
    try:
        repository = icechunk.Repository.open(icechunk.local_filesystem_storage(path))
        wanted = {"branch": branch, "tag": tag, "snapshot_id": snapshot}
        said = {key: value for key, value in wanted.items() if value is not None} or {"branch": "main"}
        session = repository.readonly_session(**said)
    except Exception as error:  # Icechunk has one error for all, and ValueError for some
        raise SourceError(f"{path}: Icechunk cannot open it: {error}") from error
    return ZarrStoreKeys(session.store, "", path)
