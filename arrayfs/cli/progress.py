"""How far a long command has come, as a bar on standard error; none where nobody looks at it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click


class Bar:
    """A bar that is shown while something counts up, and makes way for lines of output."""

    def __init__(self, label: str) -> None:
        self._label = label
        self._bar: Any = None
        self._done = 0

    def show(self, done: int, total: int) -> None:
        """Show that `done` of `total` bytes are done."""
        if self._bar is None:
            self._bar = click.progressbar(length=total, label=self._label, file=sys.stderr)
        self._bar.update(done - self._done)
        self._bar.render_progress()
        self._done = done

    def clear(self) -> None:
        """Take the bar off its line, and give the cursor back; the next step draws it anew."""
        if self._bar is not None:
            click.echo("\r\x1b[K\x1b[?25h", nl=False, err=True)


@contextmanager
def bar(label: str, *, wanted: bool) -> Iterator[Bar | None]:
    """A bar if it is wanted and standard error is a terminal."""
    shown = Bar(label) if wanted and sys.stderr.isatty() else None
    try:
        yield shown
    finally:
        if shown is not None:
            shown.clear()
