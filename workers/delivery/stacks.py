"""Finds the line at which a handler's code stands: in a running frame, a waiting task, or a thread.

File names, lines and names of functions only; never values, which may be personal.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from eventlog.text import bounded
from handlers.declaration import Handler
from workers.delivery.timeouts import time_limited

MOST_LINES = 12

_LINE_CHARS = 300
_MOST_FRAMES = 200
_OURS = str(Path(__file__).parents[1])  # the folder of `workers`
_LIMITED: CodeType = time_limited.__code__


def outwards(frame: FrameType | None) -> Iterator[FrameType]:
    """Yield a frame that runs and those that called it, innermost first."""
    for _ in range(_MOST_FRAMES):
        if frame is None:
            return
        yield frame
        frame = frame.f_back


def inwards(waiting: Any) -> Iterator[FrameType]:
    """Yield the frames of a coroutine that waits, and of what it waits for, outermost first."""
    for _ in range(_MOST_FRAMES):
        frame = next(
            (
                found
                for name in ("cr_frame", "gi_frame", "ag_frame")
                if (found := getattr(waiting, name, None))
            ),
            None,
        )
        if frame is None:
            return
        yield frame
        if frame.f_code is _LIMITED:  # it steps the handler's coroutine itself
            waiting = frame.f_locals.get("handling")
            continue
        waiting = next(
            (
                found
                for name in ("cr_await", "gi_yieldfrom", "ag_await")
                if (found := getattr(waiting, name, None))
            ),
            None,
        )


def frames_of_thread(begun: CodeType, handler: Handler, event_id: str) -> list[FrameType]:
    """Return the frames of the thread that runs a handler on an event, innermost first; empty if none does.

    Args:
        begun: of the function that called the handler there, with the arguments `function` and `arguments`.
    """
    for found in list(sys._current_frames().values()):  # noqa: SLF001 - there is no other way
        frames = list(outwards(found))
        for frame in frames:
            if frame.f_code is begun and frame.f_locals.get("function") is handler.function:
                event, *_ = frame.f_locals["arguments"]
                if event.id == event_id:
                    return frames
    return []


def lines_of(frames: Iterable[FrameType]) -> list[str]:
    """Return the lines of code outside of this package, in the order of the frames."""
    return [_line(frame) for frame in frames if not frame.f_code.co_filename.startswith(_OURS)]


def line_in(frames: Iterable[FrameType], handler: Handler | None) -> str:
    """Return the innermost line in the file of a handler, else in its folder, else of all; empty without a line.

    Args:
        frames: innermost first.
    """
    kept = [frame for frame in frames if not frame.f_code.co_filename.startswith(_OURS)]
    file = file_of(handler)
    if file:
        folder = f"{Path(file).parent}/"
        for near in ((file,), (folder,)):
            for frame in kept:
                if frame.f_code.co_filename.startswith(near):
                    return _line(frame)
    return _line(kept[0]) if kept else ""


def file_of(handler: Handler | None) -> str:
    """Return the file that holds the function of a handler; empty where it is not known."""
    code = getattr(handler.function, "__code__", None) if handler is not None else None
    return code.co_filename if code is not None else ""


def _line(frame: FrameType) -> str:
    code = frame.f_code
    return bounded(f"{code.co_filename[-_LINE_CHARS:]}:{frame.f_lineno} in {code.co_name}", 2 * _LINE_CHARS)
