"""Starts children of this program, and connects a child to its parent.

The supervisor itself is `workers/process/supervisor.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import click

from workers.process.deadline import Deadline
from workers.process.supervisor import READY_FD

_T = TypeVar("_T")
SERVE_STOP_S = 8.0  # of a serving process
PARENT_STOP_S = 9.0  # of a process whose children have ended

_BEAT_S = 1.0
_WAITING: set[asyncio.Task[None]] = set()  # the loop itself keeps no task alive


def own_command(*arguments: str) -> list[str]:
    """Return the command line of this program. `-P` keeps modules of the current folder from replacing ours."""
    return [sys.executable, "-P", "-m", "commands", *arguments]


def stop_on_signals(stop: asyncio.Event, *, insist: bool = True) -> None:
    """Set `stop` on SIGTERM and SIGINT.

    Args:
        stop: the event to set.
        insist: a second signal ends the process at once. False for a child process: it may get the signal twice,
            from its parent and from systemd, which signals the whole group.
    """
    loop = asyncio.get_running_loop()

    def ask(number: signal.Signals) -> None:
        if insist:
            loop.remove_signal_handler(number)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ask, number)


async def until_signal(work: Coroutine[Any, Any, _T], interrupted: Callable[[], None] = lambda: None) -> _T:
    """Run `work` to its end, or cancel it on SIGTERM or SIGINT after a call of `interrupted`.

    Raises:
        asyncio.CancelledError: a signal arrived, and `work` has ended.
    """
    stop = asyncio.Event()
    stop_on_signals(stop)
    working, stopping = asyncio.create_task(work), asyncio.create_task(stop.wait())
    await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not working.done():
        interrupted()
        working.cancel()
    return await working


def keep_what_is_loaded() -> None:
    """Exempt everything loaded so far from garbage collection, and collect less often.

    By default Python collects after every 700 new objects. At thousands of events a second that costs more than
    it frees.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 100)


def say_ready(*, serves: bool = True) -> Callable[[bool], None]:
    """Report to the parent, if there is one, that this process is ready, then each second that its loop runs.

    Args:
        serves: whether it has something to do. Otherwise it counts as running, and not as ready.

    Returns:
        Reports again whether it has something to do.
    """
    write = _to_parent()
    loop = asyncio.get_running_loop()

    def say(serves: bool) -> None:
        write(b"r" if serves else b"n")

    def beat() -> None:
        write(b"b")
        loop.call_later(_BEAT_S, beat)

    say(serves)
    beat()
    return say


def beats() -> Callable[[], None]:
    """Return a function that reports to the parent, once a second at most, that this process does not hang."""
    write, beaten_s = _to_parent(), 0.0

    def beat() -> None:
        nonlocal beaten_s
        if time.monotonic() - beaten_s >= _BEAT_S:
            beaten_s = time.monotonic()
            write(b"b")

    return beat


def _to_parent() -> Callable[[bytes], None]:
    number = os.environ.pop(READY_FD, None)
    if number is None:
        return lambda _: None
    fd = int(number)
    os.set_inheritable(fd, False)
    os.set_blocking(fd, False)  # a parent that is stopped reads nothing

    def write(said: bytes) -> None:
        with contextlib.suppress(OSError):
            os.write(fd, said)

    return write


def limit_stop(stop: asyncio.Event, deadline: Deadline) -> None:
    """Let the time of a deadline run as soon as `stop` is set."""

    async def wait() -> None:
        await stop.wait()
        deadline.start()

    waiting = asyncio.create_task(wait())
    waiting.add_done_callback(_WAITING.discard)
    _WAITING.add(waiting)


def end_with_parent(also: Callable[[], None] = lambda: None) -> None:
    """Send this process SIGTERM when its parent is gone; call `also` before."""

    def wait() -> None:
        while os.read(0, 4096):
            pass
        also()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="parent-watch", daemon=True).start()


child_option = click.option(
    "--child", is_flag=True, hidden=True, help="Started by another process of this program."
)
