"""Around every handler: what it raises becomes an errno, never the end of the mount.

pyfuse3 lets a handler raise FUSEError only; any other exception ends the session and leaves its request without an
answer. Everything is caught, also what is no `Exception`: a library in Rust panics with a BaseException.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine, Generator
from types import CoroutineType, MethodType
from typing import Any, Final, Generic, ParamSpec, TypeVar

import pyfuse3
import trio

from arrayfs.fuse.errnos import explain

P = ParamSpec("P")
T = TypeVar("T")


class Done(Generic[T]):
    """An awaitable that is done, with its value: cheaper than a coroutine, and who knows it need not await it."""

    __slots__ = ("value",)

    def __init__(self, value: T) -> None:
        self.value = value

    def __await__(self) -> Generator[None, None, T]:
        return self.value
        yield


DONE = Done(None)

_AT_ONCE: Final = "at_once"


def operation_of(method: Callable[..., object]) -> str:
    """FUSE's name of the request that a handler, or a variant of one (`_flush_parked`, `_readdir_plus`), answers."""
    return method.__name__.strip("_").partition("_")[0]


def request(method: Callable[P, T]) -> Callable[P, Coroutine[Any, Any, T]]:
    """Make a handler of a method that answers at once, or returns the coroutine of a `waiting_request` that answers.

    To the checker it gives coroutines, as pyfuse3 says of them.
    """

    @functools.wraps(method)
    def answered(*args: P.args, **kwargs: P.kwargs) -> Any:
        try:
            answer = method(*args, **kwargs)
            return answer if type(answer) is CoroutineType else Done(answer)
        except pyfuse3.FUSEError:
            raise
        except BaseException as error:  # noqa: BLE001  one of the two places where everything is caught
            raise pyfuse3.FUSEError(explain(operation_of(method), error)) from None

    setattr(answered, _AT_ONCE, method)
    return answered


def at_once(handler: Callable[..., Any]) -> Callable[..., Any]:
    """What `request` made the handler of, for a caller that catches everything itself: it returns the answer, not an
    awaitable, and raises what it raises. Any other handler as it is.
    """
    method = getattr(handler, _AT_ONCE, None)
    return handler if method is None else MethodType(method, getattr(handler, "__self__"))  # noqa: B009


def waiting_request(method: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """Make a handler of a method that may park."""

    @functools.wraps(method)
    async def answered(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return await method(*args, **kwargs)
        except (pyfuse3.FUSEError, GeneratorExit, trio.Cancelled):  # the last two end a session loop, not a request
            raise
        except BaseException as error:  # noqa: BLE001
            raise pyfuse3.FUSEError(explain(operation_of(method), error)) from None

    return answered
