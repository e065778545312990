"""Named byte objects, wherever they live: protocols, and the stores that keep them.

`open_store` turns what a user types (a path or a URL) into a store and the name of an object in it. Nothing in this
package knows what the bytes mean.
"""

from __future__ import annotations

import os
import re
from importlib.metadata import entry_points
from urllib.parse import unquote, urlsplit

from arrayfs.errors import StoreURLError
from arrayfs.store.local import LocalStore
from arrayfs.store.memory import MemoryStore
from arrayfs.store.protocol import Blob, Lock, Part, Store

__all__ = ["Blob", "LocalStore", "Lock", "MemoryStore", "Part", "Store", "open_store"]

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)


def open_store(url: str | os.PathLike[str]) -> tuple[Store, str]:
    """Return the store of the folder that `url` lies in, and the object's name there.

    url: a path, `file:///PATH/NAME` or `memory://STORE/NAME`; another scheme is looked up among the entry points of the
    group `arrayfs.stores`, each a callable from the URL to (store, name). The object need not exist, its folder must.
    Raises StoreURLError for a URL that nothing here can open, MissingObjectError if there is no such folder.
    """
    text = os.fspath(url)
    match = _SCHEME.match(text)
    if match is None:
        return _local(text, text)
    scheme = match[1].lower()
    if scheme == "file":
        return _local(_path_of(text), text)
    if scheme == "memory":
        folder, _, name = text[match.end() :].rpartition("/")
        if not folder or not name:
            raise StoreURLError(f"{text!r}: wanted memory://STORE/NAME")
        return MemoryStore(folder), name
    return _from_entry_point(scheme, text)


def _local(path: str, url: str) -> tuple[Store, str]:
    folder, name = os.path.split(path)
    if name in ("", ".", ".."):
        raise StoreURLError(f"{url!r} names a folder, not an object in one")
    return LocalStore(folder or "."), name


def _path_of(url: str) -> str:
    parts = urlsplit(url)
    if parts.netloc not in ("", "localhost"):
        raise StoreURLError(f"{url!r} names the host {parts.netloc!r}; wanted file:///PATH")
    # What urlsplit takes for a query or a fragment is part of a file's name.
    return unquote(url.partition("://")[2].removeprefix(parts.netloc))


def _from_entry_point(scheme: str, url: str) -> tuple[Store, str]:
    for found in entry_points(group="arrayfs.stores", name=scheme):
        opened: tuple[Store, str] = found.load()(url)
        return opened
    raise StoreURLError(f"{url!r}: no store is known for {scheme}://")
