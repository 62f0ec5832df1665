"""What a command needs to start children of this program, and to be one.

The supervisor itself is `workers/process/supervisor.py`.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import sys
import threading
from collections.abc import Callable

import click

from workers.process.supervisor import READY_FD


def own_command(*arguments: str) -> list[str]:
    """Return the command line that runs this program with these arguments.

    `-P` keeps modules of the current folder from replacing ours.
    """
    return [sys.executable, "-P", "-m", "commands", *arguments]


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
    """Send this process SIGTERM when its parent is gone.

    Args:
        also: called before the signal is sent.
    """

    def wait() -> None:
        while os.read(0, 4096):
            pass
        also()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="parent-watch", daemon=True).start()


child_option = click.option(
    "--child", is_flag=True, hidden=True, help="Started by another process of this program."
)
