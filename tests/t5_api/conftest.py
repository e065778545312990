"""A place for containers; coroutines as tests and fixtures, as zarr-python has them: each in a loop of its own."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import arrayfs


def in_a_loop(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def run(*arguments: Any, **named: Any) -> Any:
        return asyncio.run(function(*arguments, **named))

    return run


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> None:
    if inspect.iscoroutinefunction(pyfuncitem.obj):
        pyfuncitem.obj = in_a_loop(pyfuncitem.obj)


@pytest.hookimpl(tryfirst=True)
def pytest_fixture_setup(fixturedef: pytest.FixtureDef[Any]) -> None:
    if inspect.iscoroutinefunction(fixturedef.func):
        fixturedef.func = in_a_loop(fixturedef.func)  # type: ignore[misc]


@pytest.fixture
def path(tmp_path: Path) -> str:
    """Where a container can be."""
    return str(tmp_path / "c.af")


@pytest.fixture
def container(path: str) -> Iterator[arrayfs.Container]:
    """An empty one, open for writing."""
    with arrayfs.open(path, "x") as made:
        yield made
