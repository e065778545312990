"""docs/SEMANTICS.md is executed: a test says which words of it it keeps, and these words must stand there."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

SEMANTICS = Path(__file__).parents[2] / "docs" / "SEMANTICS.md"


def promised() -> str:
    """The page as one line of text, without marks of emphasis and code."""
    return re.sub(r"\s+", " ", re.sub(r"[`*]", "", SEMANTICS.read_text()))


def keeps(*quotes: str) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """The test keeps these promises; each quote must stand in the page word for word."""

    def keeping(test: Callable[P, T]) -> Callable[P, T]:
        @functools.wraps(test)
        def kept(*args: P.args, **kwargs: P.kwargs) -> T:
            page = promised()
            missing = [quote for quote in quotes if quote not in page]
            assert not missing, f"docs/SEMANTICS.md does not say: {missing}"
            return test(*args, **kwargs)

        return kept

    return keeping
