"""Around every handler: what it raises becomes an errno, never the end of the mount.

pyfuse3 lets a handler raise FUSEError only; any other exception ends the session and leaves its request without an
answer. Everything is caught, also what is no `Exception`: a library in Rust panics with a BaseException.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

import pyfuse3
import trio

from arrayfs.fuse.errnos import explain

P = ParamSpec("P")
T = TypeVar("T")


def request(method: Callable[P, T]) -> Callable[P, Coroutine[Any, Any, T]]:
    """Make a handler of a method that answers at once."""

    @functools.wraps(method)
    async def answered(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return method(*args, **kwargs)
        except pyfuse3.FUSEError:
            raise
        except BaseException as error:  # noqa: BLE001  one of the two places where everything is caught
            raise pyfuse3.FUSEError(explain(method.__name__, error)) from None

    return answered


def waiting_request(method: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """Make a handler of a method that may park."""

    @functools.wraps(method)
    async def answered(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return await method(*args, **kwargs)
        except (pyfuse3.FUSEError, GeneratorExit, trio.Cancelled):  # the last two end a session loop, not a request
            raise
        except BaseException as error:  # noqa: BLE001
            raise pyfuse3.FUSEError(explain(method.__name__, error)) from None

    return answered
