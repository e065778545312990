"""The attributes of an array or group as a mapping: JSON in, the same JSON out."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import Any

from arrayfs.api import documents
from arrayfs.api.session import Session
from arrayfs.view.nodes import Directory


class Attributes(MutableMapping[str, Any]):
    """Attributes by name, in order. Values are what JSON has, and numpy's numbers and arrays, which become that.

    What is got is a copy: set it again to change it. Each change writes the document anew, so set many by `update`.
    """

    def __init__(self, session: Session, directory: Callable[[], Directory]) -> None:
        """directory: finds the array's or group's; it may have moved."""
        self._session = session
        self._directory = directory
        self._seen = -1
        self._members: documents.Members = {}

    def _read(self) -> documents.Members:
        with self._session.lock:
            directory = self._directory()
            if self._seen != self._session.changes:
                self._members = documents.attributes(self._session, directory)
                self._seen = self._session.changes
            return self._members

    def _change(self, change: Callable[[documents.Members], documents.Members]) -> None:
        with self._session.lock:
            self._session.check_writable()
            documents.set_attributes(self._session, self._directory(), change)

    def __getitem__(self, key: str) -> Any:
        return copy.deepcopy(self._read()[key])

    def __setitem__(self, key: str, value: Any) -> None:
        self.update({key: value})

    def __delitem__(self, key: str) -> None:
        if key not in self._read():
            raise KeyError(key)
        self._change(lambda members: {name: value for name, value in members.items() if name != key})

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._read()))

    def __len__(self) -> int:
        return len(self._read())

    def __repr__(self) -> str:
        return f"Attributes({self._read()!r})"

    def asdict(self) -> dict[str, Any]:
        """All of them."""
        return copy.deepcopy(self._read())

    def update(self, *others: Any, **values: Any) -> None:
        """Set several at once: one document is written."""
        new = plain_items(dict(*others, **values))
        self._change(lambda members: members | new)

    def put(self, members: Mapping[str, Any]) -> None:
        """Replace all of them."""
        new = plain_items(members)
        self._change(lambda _: new)


def plain_items(members: Mapping[str, Any]) -> documents.Members:
    """Attributes as JSON. Raises TypeError for what has no JSON form."""
    new: documents.Members = documents.plain_json(members)
    return new
