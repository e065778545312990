"""`arrayfs status`: what a mount says of itself."""

from __future__ import annotations

from typing import Any

import click

from arrayfs.cli import control, text

HEAD = ("operation", "count", "errors", "bytes", "average", "half under", "99 % under", "slowest")


@click.command(short_help="Say what a mount has not committed yet.")
@click.argument("mountpoint")
@text.json_option
def status(mountpoint: str, as_json: bool) -> None:
    """Say which container is mounted at MOUNTPOINT, its version, and what is not committed yet.

    What programs that were killed had written to chunks and documents is in MOUNTPOINT/.arrayfs/lost+found.

    The same as JSON is the file MOUNTPOINT/.arrayfs/status.json.

    For a mount with --stats or --usage-log, also how often each operation was asked for and what it took: on average,
    the half of them and 99 % less than, the slowest. Also the last warnings of the daemon.

    Example: arrayfs status mnt
    """
    found = control.read_status(control.mount_above(mountpoint))
    if as_json:
        text.echo_json(found)
        return
    for name, value in _lines(found):
        click.echo(f"{name:<13} {value}")
    if found.get("operations"):
        click.echo()
        text.echo_table(_operations(found["operations"]), right="lrrrrrrr")
        click.echo()
    for stub in found["lost_found"]:
        click.echo(f"lost+found: {stub['path']}: {stub['why']} ({text.size(stub['bytes'])}, {stub['time']})")
    for warning in found["warnings"]:
        click.echo(f"warning: {warning}")
    for line in found.get("log", ()):
        click.echo(f"log: {line}")


def _lines(found: dict[str, Any]) -> list[tuple[str, str]]:
    dirty, cache, last = found["dirty"], found["cache"], found["last_commit"]
    access = "read only" if found["read_only"] else "read and write"
    changes = f"{text.count(dirty['chunks'], 'chunk')} of {text.count(dirty['arrays'], 'array')}"
    where = f"{text.size(dirty['raw_bytes'])} in memory, {text.size(dirty['packed_bytes'])} packed"
    uses = f"{text.count(cache['hits'], 'hit')}, {cache['misses']} missed"
    waiting = text.count(dirty["unsettled_files"], "file")
    lines = [
        ("container", f"{found['container']} in {found['store']}, {access}"),
        ("version", f"{found['version']} ({found['newest_layer']}, {text.count(found['layers'], 'layer')})"),
        ("holds", f"{found['arrays']} arrays and files"),
        ("uncommitted", f"{changes} ({where}), {waiting} just written"),
        ("cache", f"{text.size(cache['bytes'])} of {text.size(cache['limit'])}, {uses}"),
    ]
    if last is not None:
        message = f": {last['message']}" if last["message"] else ""
        lines.append(
            ("last commit", f"version {last['version']} at {last['time']}, {text.size(last['bytes'])}{message}")
        )
    return lines


def _operations(figures: dict[str, Any]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [
        ("operation", "count", "errors", "bytes", "average", "half under", "99 % under", "slowest")
    ]
    for name, each in sorted(figures.items(), key=lambda item: -item[1]["total_us"]):
        count = each["count"]
        rows.append(
            (
                name,
                f"{count:,}",
                f"{each['errors']:,}" if each["errors"] else "",
                text.size(each["bytes"]) if each["bytes"] else "",
                text.duration(each["total_us"] / count),
                text.duration(_under(each["us_below"], 0.5 * count)),
                text.duration(_under(each["us_below"], 0.99 * count)),
                text.duration(each["max_us"]),
            )
        )
    return rows


def _under(histogram: dict[str, int], wanted: float) -> int:
    """Return the µs below which at least `wanted` operations stayed."""
    done = 0
    for below, count in sorted((int(below), count) for below, count in histogram.items()):
        done += count
        if done >= wanted:
            return below
    return 0
