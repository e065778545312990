"""System calls that fail."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any


def failing(code: int) -> Callable[..., Any]:
    """Return a stand-in for a function of `os` that always raises OSError with `code`."""

    def fail(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    return fail
