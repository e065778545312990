"""The versions of a container: what each layer is called, when, why and by whom it was made, and which one is meant.

Every layer is a version. Layers of the crate have no extension block: such a version counts one more than the one below
it, and its time is its file's. What a version changed is in `differences.py`.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from arrayfs.container.layer import Layer
from arrayfs.errors import VersionError
from arrayfs.format.extension_model import Extension

# A tag is also a file name.
TAG_LIMIT = 255
_SECONDS = {"s": 1, "min": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_AGO = re.compile(r"([0-9]{1,9}) ?(s|min|h|d|w) ago", re.ASCII)
_NUMBER = re.compile(r"[0-9]+", re.ASCII)
# How much time the last part of a written time names, by how many digits it has.
_DATE = re.compile(r"[0-9]{4}-?[0-9]{2}-?[0-9]{2}|[0-9]{4}-?W[0-9]{2}(-?[0-9])?", re.ASCII)
_CLOCK = re.compile(r"[0-9]{2}(?::?([0-9]{2})(?::?([0-9]{2})([.,][0-9]+)?)?)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Version:
    """One version.

    number: as people name it; id: 16 bytes; time_ns: since 1970, UTC. file: of its layer, `size` bytes of it; arrays,
    removed, chunks: entries of its layer (removed arrays are not among `arrays`; a chunk that was removed is an entry).
    place: of its layer in the stack. merged_into: the number of the version that a compaction put it into; then it
    cannot be read by itself, and file and figures say nothing. tag_changes, tags_removed: the tags that it set and that
    it took away, by its own words.
    """

    number: int
    id: bytes
    time_ns: int
    message: str = ""
    author: str = ""
    tags: tuple[str, ...] = ()
    file: str = ""
    size: int = 0
    arrays: int = 0
    removed: int = 0
    chunks: int = 0
    place: int = -1
    merged_into: int | None = None
    by_arrayfs: bool = True
    tag_changes: tuple[str, ...] = ()
    tags_removed: tuple[str, ...] = ()

    @property
    def only_tags(self) -> bool:
        """Whether it did nothing but give names to versions, or take some away."""
        return bool(self.tag_changes or self.tags_removed) and not self.arrays and not self.removed


@dataclass(frozen=True, slots=True)
class VersionTable:
    """All versions of a stack, oldest first; of two with one number (no honest writer makes them) the later counts.

    by_number, by_tag: places in `versions`.
    """

    versions: tuple[Version, ...]
    by_number: dict[int, int] = field(repr=False)
    by_tag: dict[str, int] = field(repr=False)

    @staticmethod
    def of(layers: Sequence[Layer]) -> VersionTable:
        """The versions of these layers, the base first."""
        listed = list(_listed(layers))
        by_number = {version.number: place for place, version in enumerate(listed)}
        by_tag = _tags(layers, by_number)
        tags: dict[int, list[str]] = {}
        for tag, place in by_tag.items():
            tags.setdefault(place, []).append(tag)
        for place, names in tags.items():
            listed[place] = replace(listed[place], tags=tuple(sorted(names)))
        return VersionTable(tuple(listed), by_number, by_tag)

    def __iter__(self) -> Iterator[Version]:
        return iter(self.versions)

    @property
    def newest(self) -> Version:
        """The state that the container is in."""
        return self.versions[-1]

    def resolve(self, wanted: str | int, now_ns: int | None = None) -> Version:
        """The version that is meant by a number, a tag, or a time: the newest one that was there then.

        A time is ISO 8601 (local unless it says otherwise) or `2h ago` (s, min, h, d, w), and stands for the end of
        what it names: `2026-03-01` for the last moment of that day. now_ns: what "ago" counts from.
        Raises VersionError.
        """
        if isinstance(wanted, int) or _NUMBER.fullmatch(wanted):
            return self.numbered(int(wanted) if len(str(wanted)) <= 20 else -1)
        if wanted in self.by_tag:
            return self.tagged(wanted)
        moment_ns = read_time(wanted, time.time_ns() if now_ns is None else now_ns)
        if moment_ns is None:
            raise VersionError(f"{wanted!r} is no number, tag or time of a version; {self._extent()}")
        return self.at_time(moment_ns, wanted)

    def begin_of(self, wanted: str, now_ns: int) -> int:
        """The first moment, in ns since 1970, of what a time names; or when the version of a number or tag was made.

        Raises VersionError.
        """
        if not _NUMBER.fullmatch(wanted) and wanted not in self.by_tag:
            moments = _moments(wanted, now_ns)
            if moments is not None:
                return moments[0]
        return self.resolve(wanted, now_ns).time_ns

    def numbered(self, number: int) -> Version:
        """The version of this number. Raises VersionError if there is none, or it was merged."""
        place = self.by_number.get(number)
        if place is None:
            raise VersionError(f"there is no version {number}; {self._extent()}")
        return _readable(self.versions[place])

    def tagged(self, tag: str) -> Version:
        """The version that has this tag. Raises VersionError."""
        place = self.by_tag.get(tag)
        if place is None:
            known = ", ".join(sorted(self.by_tag)) or "none"
            raise VersionError(f"no version has the tag {tag!r}; tags: {known}")
        return _readable(self.versions[place])

    def at_time(self, moment_ns: int, wanted: str) -> Version:
        """The newest version made at or before a moment, in ns since 1970. Raises VersionError before the first."""
        for version in reversed(self.versions):
            if version.time_ns <= moment_ns:
                return _readable(version)
        first = datetime.fromtimestamp(self.versions[0].time_ns / 1e9).astimezone().isoformat(timespec="seconds")
        raise VersionError(f"{wanted!r} is before the first version, which was made at {first}")

    def newest_change(self) -> Version:
        """The newest version that did more than set tags."""
        return next((one for one in reversed(self.versions) if not one.only_tags), self.newest)

    def _extent(self) -> str:
        return f"versions are {self.versions[0].number} to {self.versions[-1].number}"


def check_tag(name: str) -> None:
    """Raise VersionError unless a tag can have this name: it is a file name, and reads neither as number nor time."""
    why = _fault(name)
    if why:
        raise VersionError(f"no tag can be called {name!r}: {why}")


def _fault(name: str) -> str:
    """Why no tag can have this name; "" if one can."""
    if not name or name in (".", "..") or "/" in name or not name.isprintable() or name != name.strip():
        return "it cannot be the name of a file, or is hard to type"
    if len(name.encode("utf-8", "surrogatepass")) > TAG_LIMIT or name.startswith("-"):
        return f"it has more than {TAG_LIMIT} bytes, or begins with a dash"
    if _NUMBER.fullmatch(name) or read_time(name, 0) is not None:
        return "it reads as the number or the time of a version"
    return ""


def read_time(text: str, now_ns: int) -> int | None:
    """The last moment, in ns since 1970, of what a time names; None if it is none."""
    moments = _moments(text, now_ns)
    return None if moments is None else moments[1]


def _moments(text: str, now_ns: int) -> tuple[int, int] | None:
    """The first and the last moment of what a time names."""
    ago = _AGO.fullmatch(text)
    if ago is not None:
        moment = now_ns - int(ago[1]) * _SECONDS[ago[2]] * 10**9
        return moment, moment
    try:
        begin = datetime.fromisoformat(text)
        end = begin + _precision(text)
        # a date without a zone is local time, also on the day when the clocks change
        return round(begin.timestamp() * 10**6) * 1000, round(end.timestamp() * 10**6) * 1000 - 1
    except (ValueError, OverflowError, OSError):
        return None


def _precision(text: str) -> timedelta:
    """How long the last part lasts that a time names: a day, an hour, a minute, a second or less."""
    date = _DATE.match(text)
    clock = _CLOCK.match(text[date.end() + 1 :]) if date is not None else None
    if clock is None:
        return timedelta(days=1)
    minute, second, fraction = clock.groups()
    if minute is None:
        return timedelta(hours=1)
    if second is None:
        return timedelta(minutes=1)
    if fraction is None:
        return timedelta(seconds=1)
    return timedelta(microseconds=10 ** max(0, 7 - len(fraction)))


def _readable(version: Version) -> Version:
    if version.merged_into is not None:
        raise VersionError(
            f"version {version.number} was merged into version {version.merged_into} by a compaction: it is listed, "
            "but cannot be read any more"
        )
    return version


def _listed(layers: Sequence[Layer]) -> Iterator[Version]:
    times = _times(layers)
    number = -1
    for place, layer in enumerate(layers):
        ext, metas = layer.extension, layer.footer.arrays
        changes = () if ext is None else ext.tag_changes
        number = number + 1 if ext is None else ext.version
        yield from _merged(ext, number)
        yield Version(
            number, layer.id, times[place], *(("", "") if ext is None else (ext.message, ext.author)),
            file=layer.name, size=layer.blob.size, arrays=sum(not meta.deleted for meta in metas),
            removed=sum(meta.deleted for meta in metas), chunks=sum(len(meta.chunks) for meta in metas),
            place=place, by_arrayfs=ext is not None,
            tag_changes=tuple(change.name for change in changes if change.version is not None),
            tags_removed=tuple(change.name for change in changes if change.version is None),
        )  # fmt: skip


def _merged(ext: Extension | None, into: int) -> Iterator[Version]:
    for one in () if ext is None else ext.merged:
        yield Version(one.number, one.layer_id, one.time_ns, one.message, one.author, merged_into=into)


def _times(layers: Sequence[Layer]) -> list[int]:
    """When each was made: what its extension block says, else its file's time (of a copy that is later), but then no
    later than the layer above it.
    """
    times = [layer.time_ns for layer in layers]
    for place in range(len(layers) - 2, -1, -1):
        if layers[place].extension is None:
            times[place] = min(times[place], times[place + 1] - 1)
    return times


def tags_said(layers: Iterable[Layer]) -> dict[str, int | None]:
    """What these layers say of tags, the newest word of each: the number of a version, None if it names none."""
    numbers: dict[str, int | None] = {}
    for ext in (layer.extension for layer in layers if layer.extension is not None):
        for one in ext.merged:
            numbers.update(dict.fromkeys(one.tags, one.number))
        numbers.update(dict.fromkeys(ext.tags, ext.version))
        numbers.update((change.name, change.version) for change in ext.tag_changes)
    return numbers


def _tags(layers: Sequence[Layer], by_number: dict[int, int]) -> dict[str, int]:
    """Which version each tag names, by its place (docs/FORMAT.md, "Sections")."""
    named = {tag: number for tag, number in tags_said(layers).items() if number is not None and number in by_number}
    # a container may come from anyone: what arrayfs would not have set is none
    return {tag: by_number[number] for tag, number in named.items() if not _fault(tag)}
