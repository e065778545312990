"""`arrayfs log`: the versions of a container."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import click

from arrayfs.cli import control, text
from arrayfs.container.container import Container
from arrayfs.container.layer import Layer
from arrayfs.container.versions import Version
from arrayfs.errors import ArrayNotFoundError
from arrayfs.view.meaning import FILE, NATIVE, OPAQUE, belongs, meaning

EXAMPLE = """\b
Example:
  arrayfs log weather.af
  arrayfs log weather.af --array temperature --json
"""


@click.command(short_help="List the versions: when, who, why, what.", epilog=EXAMPLE)
@click.argument("container")
@click.option("--array", "name", metavar="NAME", help="Only versions that changed this array, group or file.")
@click.option("-n", "--last", type=click.IntRange(min=1), metavar="K", help="Only the newest K.")
@text.json_option
def log(container: str, name: str | None, last: int | None, as_json: bool) -> None:
    """List the versions of CONTAINER, newest first. Every commit is one; what it replaced can still be read.

    CONTAINER may also be a directory where one is mounted. "changed" counts the arrays and the files (documents among
    them) that a version has something new of, and its chunks. A version that a compaction merged is listed and marked;
    it cannot be read any more. A version written by the Rust crate has its file's time, no message, and no author.

    Look into a version with `arrayfs show`, `diff`, `ls --version`, `mount --version`, or in the directory
    .arrayfs/versions of a mount; bring it back with `arrayfs restore`; give it a name with `arrayfs tag`.
    """
    with Container.open(control.container_at(container)) as opened:
        rows = [_facts(opened, version, name) for version in opened.versions()]
    rows = [row for row in reversed(rows) if row is not None][:last]
    if name is not None and not rows:
        raise ArrayNotFoundError(f"{container}: no version has an array, group or file {name!r}")
    if as_json:
        text.echo_json(rows)
        return
    head = ("version", "time", "changed", "size", "author", "message")
    text.echo_table([head, *(_row(row) for row in rows if row is not None)], "rllrll")


def version_json(version: Version) -> dict[str, Any]:
    """What a version is called, and when, why and by whom it was made."""
    return {
        "version": version.number,
        "id": version.id.hex(),
        "time": text.time(version.time_ns),
        "time_ns": version.time_ns,
        "author": version.author,
        "message": version.message,
        "tags": list(version.tags),
        "sets_tags": list(version.tag_changes),
        "removes_tags": list(version.tags_removed),
        "merged_into": version.merged_into,
        "file": version.file or None,
        "bytes": version.size,
        "by_arrayfs": version.by_arrayfs,
    }


def why(version: dict[str, Any]) -> str:
    """Message, tags and what is special, in one line; takes what `version_json` gives."""
    notes = [f"[{tag}]" for tag in version["tags"]]
    message = " ".join(version["message"].split())
    if version["merged_into"] is not None:
        notes.append(f"(merged into {version['merged_into']})")
    if not message:
        said = (("tag", version["sets_tags"]), ("no tag", version["removes_tags"]))
        message = "; ".join(f"{word} {', '.join(tags)}" for word, tags in said if tags)
    return " ".join(filter(None, [*notes, message]))


def who(version: dict[str, Any]) -> str:
    """The author; takes what `version_json` gives."""
    return str(version["author"]) if version["by_arrayfs"] else "(the crate)"


def _facts(container: Container, version: Version, name: str | None) -> dict[str, Any] | None:
    """None: the version did not change what is called `name`."""
    layer = None if version.merged_into is not None else container.stack.layers[version.place]
    touched = list(_touched(layer, name))
    if name is not None and not touched:
        return None
    kinds = Counter(kind for kind, _ in touched)
    return version_json(version) | {
        "arrays": kinds[NATIVE] + kinds[OPAQUE],
        "files": kinds[FILE],
        "chunks": sum(chunks for kind, chunks in touched if kind in (NATIVE, OPAQUE)),
    }


def _touched(layer: Layer | None, name: str | None) -> Iterator[tuple[str, int]]:
    """Kind, and chunks written or removed, of each array that a layer speaks of; once, if it was defined again."""
    chunks: dict[str, int] = {}
    for meta in () if layer is None else layer.footer.arrays:
        if name is None or belongs(meta.name, name):
            chunks[meta.name] = chunks.get(meta.name, 0) + len(meta.chunks)
    yield from ((meaning(array).kind, count) for array, count in chunks.items())


def _row(facts: dict[str, Any]) -> tuple[str, ...]:
    arrays = f"{text.count(facts['arrays'], 'array')} ({text.count(facts['chunks'], 'chunk')})"
    parts = [arrays] * bool(facts["arrays"]) + [text.count(facts["files"], "file")] * bool(facts["files"])
    size = "" if facts["merged_into"] is not None else text.size(facts["bytes"])
    when = text.short_time(facts["time_ns"])
    return str(facts["version"]), when, ", ".join(parts) or "-", size, who(facts), why(facts)
