"""Finds calls that hold up the event loop, with `blockbuster`, which knows the functions that block."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Iterator
from unittest import mock


@contextlib.contextmanager
def blocking_calls(file: str) -> Iterator[list[str]]:
    """Collect the blocking calls that are made in an event loop within the block.

    Each raises `BlockingError` where it is made. The list also has those whose error a handler caught.

    Args:
        file: of the handler; a call is named by the line of this file that led to it.

    Raises:
        ModuleNotFoundError: `blockbuster` is not installed.
    """
    from blockbuster import BlockBuster, BlockingError

    found: list[str] = []
    made = BlockingError.__init__

    def noted(error: BlockingError, function: str) -> None:
        made(error, function)
        frames = traceback.extract_stack()
        line = next((frame for frame in reversed(frames) if frame.filename == file), frames[0])
        found.append(f"{function} at {line.filename}:{line.lineno}: {line.line}")

    detector = BlockBuster()
    with mock.patch.object(BlockingError, "__init__", noted):
        detector.activate()
        try:
            yield found
        finally:
            detector.deactivate()
