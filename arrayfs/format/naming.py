"""File names of a container: its base, sidecars, statistics, lock and journals.

Every name is made and parsed here; `parse_...` is the inverse of the maker. Nothing here touches a store.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from arrayfs.errors import FormatError

SUFFIX = ".af"
_MAX_NUMBER = 2**32 - 1
_NUMBER = re.compile(r"\+?[0-9]+", re.ASCII)
_JOURNAL_ID = re.compile(r"[0-9a-f]{32}", re.ASCII)


@dataclass(frozen=True, slots=True)
class ContainerNames:
    """The names of the files of the container `stem`, without their directory."""

    stem: str

    @staticmethod
    def from_base(name: str) -> ContainerNames:
        """Return the names that belong to the base file `name`. Raises FormatError unless it is `STEM.af`."""
        stem = name.removesuffix(SUFFIX)
        if not stem or stem == name or "/" in name:
            raise FormatError(f"{name!r} is no name of a container: it has to be STEM{SUFFIX}")
        return ContainerNames(stem)

    @property
    def base(self) -> str:
        return f"{self.stem}{SUFFIX}"

    @property
    def stats(self) -> str:
        return f"{self.stem}.stats"

    @property
    def lock(self) -> str:
        return f"{self.stem}.lock"

    @property
    def exchange(self) -> str:
        """What a compaction is about to replace or move, while it does."""
        return f"{self.stem}.exchange"

    def sidecar(self, number: int) -> str:
        """number: 1 to 2**32 - 1."""
        if not 0 < number <= _MAX_NUMBER:
            raise ValueError(f"a sidecar has no number {number}")
        return f"{self.stem}.{number}{SUFFIX}"

    def part(self, journal_id: str) -> str:
        """The next sidecar in the making. journal_id: 32 lower-case hex digits."""
        return f"{self.stem}.part-{_checked_id(journal_id)}"

    def log(self, journal_id: str) -> str:
        """A writer's journal. journal_id: 32 lower-case hex digits."""
        return f"{self.stem}.log-{_checked_id(journal_id)}"

    def parse_sidecar(self, name: str) -> int | None:
        """Return the number of the sidecar `name`, None if it is not one of this container."""
        if not (name.startswith(f"{self.stem}.") and name.endswith(SUFFIX)):
            return None
        return _parse_number(name[len(self.stem) + 1 : -len(SUFFIX)])

    def parse_part(self, name: str) -> str | None:
        """Return the journal id of a name that `part` made, else None."""
        return self._parse_id(name, "part")

    def parse_log(self, name: str) -> str | None:
        """Return the journal id of a name that `log` made, else None."""
        return self._parse_id(name, "log")

    def _parse_id(self, name: str, kind: str) -> str | None:
        prefix = f"{self.stem}.{kind}-"
        journal_id = name.removeprefix(prefix)
        return journal_id if name.startswith(prefix) and _JOURNAL_ID.fullmatch(journal_id) else None


def sidecar_of_other(name: str) -> tuple[str, int] | None:
    """Return (stem, number) if the base name would be taken for a sidecar of another container, else None.

    By the rule of discovery `weather.2024.af` is sidecar 2024 of `weather.af`; nobody should create one.
    """
    stem, dot, middle = name.removesuffix(SUFFIX).rpartition(".")
    number = _parse_number(middle) if name.endswith(SUFFIX) and dot and stem else None
    return None if number is None else (stem, number)


def _parse_number(text: str) -> int | None:
    """As Rust parses a u32 ("01" and "+2" too), without 0: a base is no sidecar."""
    if len(text) < 10 and text.isdigit() and text.isascii() and text[0] != "0":
        return int(text)
    if not _NUMBER.fullmatch(text):
        return None
    digits = text.lstrip("+").lstrip("0")
    # Length first: Python refuses to convert thousands of digits.
    return int(digits) if 0 < len(digits) <= 10 and int(digits) <= _MAX_NUMBER else None


def _checked_id(journal_id: str) -> str:
    if not _JOURNAL_ID.fullmatch(journal_id):
        raise ValueError(f"{journal_id!r} is not 32 hex digits")
    return journal_id
