"""Lists that are filled while a block runs, such as the handlers that a plugin declares while it is loaded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

T = TypeVar("T")


@contextmanager
def gathering(variable: ContextVar[list[T] | None]) -> Iterator[list[T]]:
    """Let a variable hold an empty list inside the block, and what it held before afterwards."""
    found: list[T] = []
    token = variable.set(found)
    try:
        yield found
    finally:
        variable.reset(token)
