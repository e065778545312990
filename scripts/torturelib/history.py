"""The versions of a container: what is listed stays listed, and what was shown is read again while it is there."""

from __future__ import annotations

import random
import shutil
import stat
import zlib
from contextlib import closing
from pathlib import Path

from arrayfs.container import opening
from arrayfs.container.versions import Version, VersionTable
from arrayfs.format.naming import ContainerNames
from arrayfs.store import open_store
from arrayfs.view.numbers import ROOT
from arrayfs.view.tree import open_tree
from torturelib.check import Observed

Shown = dict[str, int | None]  # path -> checksum of a file, None for a directory


class History:
    """All that was seen of the versions of a container.

    folder: where copies of its files are read; seed: of the choice of those that are read again.
    """

    def __init__(self, container: Path, folder: Path, seed: int) -> None:
        self._container, self._folder, self._rng = container, folder, random.Random(seed)
        self._listed: list[tuple[int, bytes, str]] = []
        self._shown: dict[bytes, Shown] = {}
        self.newest = self.merged = 0

    def follow(self, committed: dict[int, str]) -> list[str]:
        """Read the list of versions anew; returns what is wrong with it. committed: messages that clients know of."""
        versions = self._versions()
        listed = [(one.number, one.id, one.message) for one in versions]
        wrong = []
        if listed[: len(self._listed)] != self._listed:
            gone = [number for number, *rest in self._listed if (number, *rest) not in listed]
            wrong.append(f"versions {gone or 'in another order'} are not listed as they were")
        messages = {one.number: one.message for one in versions}
        for number, message in committed.items():
            if messages.get(number) != message:
                wrong.append(f"version {number} says {messages.get(number)!r}, not {message!r}")
        self._listed = listed
        self.newest = versions[-1].number
        self.merged = sum(one.merged_into is not None for one in versions)
        return wrong

    def show(self, observed: Observed) -> None:
        """Note what the newest version has: just what a mount shows now."""
        newest = self._listed[-1][1]
        self._shown[newest] = {
            path: None if seen is None else zlib.crc32(seen.content) for path, seen in observed.items()
        }

    def some(self, at_most: int) -> list[Version]:
        """Of those that were shown, and can still be read."""
        found = [one for one in self._versions() if one.merged_into is None and one.id in self._shown]
        return self._rng.sample(found, min(at_most, len(found)))

    def check(self, version: Version) -> list[str]:
        """Read a version from copies of the files; returns what is wrong with it. Nobody compacts the container now."""
        self._folder.mkdir()
        try:
            for file in self._container.parent.glob("*.af"):
                shutil.copy(file, self._folder)
            shown = _shown_by(self._folder / self._container.name, version.number)
        finally:
            shutil.rmtree(self._folder)
        was = self._shown[version.id]
        wrong = sorted(path for path in shown.keys() | was.keys() if shown.get(path, -1) != was.get(path, -1))
        return [f"version {version.number}: {path} is not what it was" for path in wrong]

    def _versions(self) -> list[Version]:
        store, base = open_store(str(self._container))
        stack = opening.open_stack(store, ContainerNames.from_base(base))
        try:
            return list(VersionTable.of(stack.layers))
        finally:
            opening.close_all(stack.layers)


def _shown_by(container: Path, version: int) -> Shown:
    shown: Shown = {}
    with closing(open_tree(str(container), version=version)) as tree:
        waiting = [("", ROOT)]
        while waiting:
            above, ino = waiting.pop()
            for name, attr, _ in tree.opendir(ino).entries(0):
                shown[above + name] = None
                if stat.S_ISDIR(attr.mode):
                    waiting.append((f"{above}{name}/", attr.ino))
                    continue
                handle = tree.open(attr.ino, write=False, truncate=False)
                shown[above + name] = zlib.crc32(handle.read(0, attr.size))
                handle.release()
    return shown
