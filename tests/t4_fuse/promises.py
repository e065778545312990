"""docs/SEMANTICS.md and docs/SECURITY.md are executed: a test says which words it keeps, and these must stand there."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

SEMANTICS = Path(__file__).parents[2] / "docs" / "SEMANTICS.md"

SECURITY = SEMANTICS.with_name("SECURITY.md")
ZARRSTORE = SEMANTICS.with_name("ZARRSTORE.md")


def promised(page: Path = SEMANTICS) -> str:
    """The page as one line of text, without marks of emphasis and code."""
    return re.sub(r"\s+", " ", re.sub(r"[`*]", "", page.read_text()))


def keeps(*quotes: str, page: Path = SEMANTICS) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """The test keeps these promises; each quote must stand in the page word for word."""

    def keeping(test: Callable[P, T]) -> Callable[P, T]:
        @functools.wraps(test)
        def kept(*args: P.args, **kwargs: P.kwargs) -> T:
            said = promised(page)
            missing = [quote for quote in quotes if quote not in said]
            assert not missing, f"docs/{page.name} does not say: {missing}"
            return test(*args, **kwargs)

        return kept

    return keeping


def defends(*quotes: str) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """The same for docs/SECURITY.md."""
    return keeps(*quotes, page=SECURITY)
