"""Keys as paths: names with `/` between them, without one in front; the root's is empty."""

from __future__ import annotations

from collections.abc import Iterator


def join(path: str, below: str) -> str:
    """The path of what is called so below a path."""
    return f"{path}/{below}" if path and below else path or below


def above(path: str) -> Iterator[str]:
    """The paths of the directories that a path lies in, the nearest first, the root's last."""
    while path:
        path = path.rpartition("/")[0]
        yield path
