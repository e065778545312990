"""The content of a file, whichever way it is had: bytes in memory, or what reads ranges of a large one."""

from __future__ import annotations

from arrayfs.container.large import STEP, Stretch
from arrayfs.view.draft import Draft

# A draft among them is one to which nobody writes.
Content = bytes | memoryview | Stretch | Draft


def size_of(content: Content) -> int:
    """Bytes of it."""
    return len(content) if isinstance(content, bytes | memoryview) else content.size


def cut(content: Content, offset: int, size: int) -> bytes | memoryview:
    """Bytes from `offset`, fewer at the end; those in memory without a copy."""
    if isinstance(content, bytes | memoryview):
        return memoryview(content)[offset : offset + size]
    return content.read(offset, size)


def whole_of(content: Content) -> bytes | memoryview:
    """All of it. Raises FormatError where no memory could hold it."""
    if isinstance(content, bytes | memoryview):
        return content
    return content.read(0, content.size) if content.size <= STEP else content.whole()


def draft_over(content: Content) -> Draft:
    """A draft in which nothing has been changed yet."""
    if isinstance(content, bytes | memoryview):
        view = memoryview(content)
        return Draft(lambda offset, size: view[offset : offset + size], len(view))
    return Draft(content.read, content.size, content.pieces if isinstance(content, Stretch) else None)
