"""Compaction that nobody has to ask for: when a container has so many layers, or so much that nobody can see."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from arrayfs.container.compact import Compaction, CompactReport, Keep
from arrayfs.container.container import Container
from arrayfs.store.protocol import Store

_TERM = re.compile(r"(?:(layers|keep)=([1-9][0-9]{0,8})|garbage=([0-9]{1,2}(?:\.[0-9]+)?)%)", re.ASCII)


@dataclass(frozen=True, slots=True)
class CompactWhen:
    """layers: more files than this; garbage: a larger part of their bytes than this, 0 to 1, that a compaction would
    win; either is enough. keep: so many of the newest versions stay, beside those with a tag.
    """

    layers: int | None = None
    garbage: float | None = None
    keep: int = 1

    @staticmethod
    def parse(text: str) -> CompactWhen:
        """Read `layers=100,garbage=50%,keep=10`. Raises ValueError."""
        numbers: dict[str, float] = {}
        for term in text.split(","):
            match = _TERM.fullmatch(term.strip())
            if match is None:
                raise ValueError(f"{term!r} is none of layers=N, garbage=P%, keep=K")
            numbers[match[1] or "garbage"] = float(match[2] or match[3])
        if not numbers.keys() & {"layers", "garbage"}:
            raise ValueError(f"{text!r} says neither layers=N nor garbage=P%")
        layers, garbage = numbers.get("layers"), numbers.get("garbage")
        return CompactWhen(
            None if layers is None else int(layers),
            None if garbage is None else garbage / 100,
            int(numbers.get("keep", 1)),
        )

    def is_due(self, would: CompactReport) -> bool:
        """Whether a compaction that would do this is to be done."""
        if not would.merged:
            return False
        if self.layers is not None and would.layers_before > max(self.layers, self.keep):
            return True
        won = would.size_before - would.size_after
        return self.garbage is not None and won > self.garbage * would.size_before


class Upkeep:
    """Looks after one container, each of its versions at most once."""

    def __init__(self, url: str, when: CompactWhen, journals: Sequence[Store] = ()) -> None:
        self._url, self._when, self._journals = url, when, journals
        self._seen = b""

    def look(self, newest: bytes) -> CompactReport | None:
        """Compact if that is due; None if not. newest: the id of the newest layer, as far as the caller knows.

        Raises as a compaction does; another look is taken when there is another version.
        """
        if newest == self._seen:
            return None
        self._seen = newest
        container = Container.open(self._url, "a")
        try:
            compaction = Compaction(container, Keep(self._when.keep, tags=True), journals=self._journals)
            return compaction.run() if self._when.is_due(compaction.estimate()) else None
        finally:
            container.close()
