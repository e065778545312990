"""Keys as paths: names with `/` between them, without one in front; the root's is empty."""

from __future__ import annotations

from collections.abc import Iterator

from arrayfs.view.paths import CONTROL_NAME, NAME_MAX

_IN_NO_PATH = frozenset(("", ".", ".."))


def join(path: str, below: str) -> str:
    """The path of what is called so below a path."""
    return f"{path}/{below}" if path and below else path or below


def above(path: str) -> Iterator[str]:
    """The paths of the directories that a path lies in, the nearest first, the root's last."""
    while path:
        path = path.rpartition("/")[0]
        yield path


def refused(path: str, into: str = "") -> tuple[str, str] | None:
    """What no container can have of a path in a group: the path down to the first such name, and why; None if it can
    have it all.
    """
    names = path.split("/")
    for depth, name in enumerate(names):
        why = _refusal(name, is_top=not depth and not into)
        if why is not None:
            return "/".join(names[: depth + 1]), why
    return None


def _refusal(name: str, *, is_top: bool) -> str | None:
    if name in _IN_NO_PATH:
        return f"{name!r} is no name of a file"
    if is_top and name == CONTROL_NAME:
        return "a name that a container keeps for itself, with all that lies below"
    if name.isascii() and len(name) <= NAME_MAX:
        return None
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        return "its name is not UTF-8"
    return f"a name of {size} bytes; {NAME_MAX} is the limit" if size > NAME_MAX else None
