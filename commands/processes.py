"""What a command needs to start children of this program, and to be one.

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
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import click

from workers.process.supervisor import READY_FD

_T = TypeVar("_T")


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


def say_ready() -> None:
    """Report to the parent process, if there is one, that this process is ready."""
    number = os.environ.pop(READY_FD, None)
    if number is not None:
        with contextlib.suppress(OSError):
            os.write(int(number), b"r")
            os.close(int(number))


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
