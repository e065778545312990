"""Names that a file system cannot carry, percent-escaped: a component of an array's name <-> its file name.

Only such names change. A file name that is no escape of one means itself, so `a%20b` and `100%` stay as they are; a
component that would read as an escape is escaped once more. Both directions are exact inverses while the shown name has
at most 255 bytes.
"""

from __future__ import annotations

import hashlib

NAME_MAX = 255  # bytes of one name, on Linux
DOCUMENT_NAMES = frozenset(("zarr.json", ".zarray", ".zattrs", ".zgroup", ".zmetadata"))
CONTROL_NAME = ".arrayfs"
# Names with a meaning of their own; shown with their first character escaped (`..` with both).
_RESERVED = frozenset((".", CONTROL_NAME, *DOCUMENT_NAMES))
_EMPTY = "%"
_HASH_DIGITS = 16


def show(component: str) -> str:
    """The file name that stands for a component of an array's name. Text must have a UTF-8 form.

    A name beyond 255 bytes is cut and ends in `%` and 16 hex digits of its SHA-256: `unshow` cannot give it back, the
    caller finds it by showing the names that there are.
    """
    # the first test also keeps the last one, which is quadratic, from long names
    too_long = len(component.encode()) > NAME_MAX
    shown = _escape(component) if too_long or _is_special(component) or _reads_as_escape(component) else component
    return shown if len(shown.encode()) <= NAME_MAX else _cut(shown, component, NAME_MAX)


def shorten(name: str, end: str) -> str:
    """A file name with an end behind it; where that is too long, the name is cut as `show` does."""
    room = NAME_MAX - len(end.encode())
    return (name if len(name.encode(errors="surrogateescape")) <= room else _cut(name, name, room)) + end


def _cut(shown: str, component: str, room: int) -> str:
    digest = hashlib.sha256(component.encode(errors="surrogateescape")).hexdigest()[:_HASH_DIGITS]
    # a cut character is dropped
    prefix = shown.encode(errors="surrogateescape")[: room - 1 - _HASH_DIGITS].decode(errors="ignore")
    return f"{prefix}%{digest}"


def unshow(shown: str) -> str:
    """The component that a file name stands for: the inverse of `show`."""
    return _unescape(shown) or "" if _reads_as_escape(shown) else shown


def _is_special(component: str) -> bool:
    return not component or component in _RESERVED or component == ".." or "\0" in component or "/" in component


def _escape(component: str) -> str:
    if not component:
        return _EMPTY
    escaped = component.replace("%", "%25").replace("\0", "%00").replace("/", "%2F")
    if escaped == "..":
        return "%2E%2E"
    return f"%{ord(escaped[0]):02X}{escaped[1:]}" if escaped in _RESERVED else escaped


def _reads_as_escape(name: str) -> bool:
    """Whether `name` is the escape of a special component, or of a name that reads as an escape itself.

    Each step takes at least one character away, so it ends.
    """
    while "%" in name:
        component = _unescape(name)
        if component is None:
            return False
        if _is_special(component):
            return True
        name = component
    return False


def _unescape(name: str) -> str | None:
    """The component whose `_escape` is `name`; None if there is none, so that no two names mean the same."""
    if name == _EMPTY:
        return ""
    head, *tails = name.split("%")
    parts = [head]
    for tail in tails:
        if len(tail) < 2 or not tail[:2].isascii() or not tail[:2].isalnum():
            return None
        try:
            parts += chr(int(tail[:2], 16)), tail[2:]
        except ValueError:
            return None
    component = "".join(parts)
    return component if _escape(component) == name else None
