"""`arrayfs status`: what a mount says of itself."""

from __future__ import annotations

from typing import Any

import click

from arrayfs.cli import control, text


@click.command(short_help="Say what a mount has not committed yet.")
@click.argument("mountpoint")
@text.json_option
def status(mountpoint: str, as_json: bool) -> None:
    """Say which container is mounted at MOUNTPOINT, its version, and what is not committed yet.

    What programs that were killed had written to chunks and documents is in MOUNTPOINT/.arrayfs/lost+found.

    The same as JSON is the file MOUNTPOINT/.arrayfs/status.json.

    Example: arrayfs status mnt
    """
    found = control.read_status(control.mount_above(mountpoint))
    if as_json:
        text.echo_json(found)
        return
    for name, value in _lines(found):
        click.echo(f"{name:<13} {value}")
    for stub in found["lost_found"]:
        click.echo(f"lost+found: {stub['path']}: {stub['why']} ({text.size(stub['bytes'])}, {stub['time']})")
    for warning in found["warnings"]:
        click.echo(f"warning: {warning}")


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
        ("arrays", str(found["arrays"])),
        ("uncommitted", f"{changes} ({where}), {waiting} just written"),
        ("cache", f"{text.size(cache['bytes'])} of {text.size(cache['limit'])}, {uses}"),
    ]
    if last is not None:
        message = f": {last['message']}" if last["message"] else ""
        lines.append(
            ("last commit", f"version {last['version']} at {last['time']}, {text.size(last['bytes'])}{message}")
        )
    return lines
