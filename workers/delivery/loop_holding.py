"""Measures how long an author's coroutine holds the event loop, during which no other handler runs."""

from __future__ import annotations

import time
import types
from collections.abc import Coroutine, Generator
from typing import Any, TypeVar

T = TypeVar("T")


class LoopHolding:
    """The times for which a coroutine held the event loop without a break.

    Attributes:
        longest_s: the longest time without a turn for others.
    """

    def __init__(self) -> None:
        self.longest_s = 0.0

    def ended(self, began_s: float) -> None:
        """Record a turn that began at this time of `time.monotonic`."""
        self.longest_s = max(self.longest_s, time.monotonic() - began_s)

    @types.coroutine
    def during(self, work: Coroutine[Any, Any, T]) -> Generator[Any, Any, T]:
        """Await `work`, and measure each of its turns."""
        thrown: BaseException | None = None
        while True:
            began_s = time.monotonic()
            try:
                awaited = work.send(None) if thrown is None else work.throw(thrown)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
            finally:
                self.ended(began_s)
            thrown = None
            try:
                yield awaited
            except GeneratorExit:
                work.close()
                raise
            except BaseException as error:  # noqa: BLE001 - thrown on into the lifespan
                thrown = error
