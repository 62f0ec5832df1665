"""How long a coroutine of an author's holds the event loop, of which the handlers at work get nothing meanwhile."""

from __future__ import annotations

import time
import types
from collections.abc import Coroutine, Generator
from typing import Any, TypeVar

T = TypeVar("T")


class LoopHolding:
    """How long a coroutine held the event loop at a time.

    Attributes:
        longest_s: the longest time without a turn for others.
    """

    def __init__(self) -> None:
        self.longest_s = 0.0

    def ended(self, began_s: float) -> None:
        """Take in a turn that began at this time of `time.monotonic`."""
        self.longest_s = max(self.longest_s, time.monotonic() - began_s)

    @types.coroutine
    def during(self, work: Coroutine[Any, Any, T]) -> Generator[Any, Any, T]:
        """Do what `await work` does, and measure each of its turns."""
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
