"""Child processes: started again when they end, and never left behind, whatever happens to the parent.

A child's standard input is a pipe that only its parent holds open, so that it notices even a SIGKILL of the
parent. It says that it is ready through a second pipe. It has a session of its own, so that a terminal's Ctrl-C
reaches the parent alone, which ends its children in the order it wants.
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
from collections.abc import AsyncIterator, Callable, Mapping, Sequence

import click

from receiver.logging import get_logger

READY_FD = "_AMPECO_RECEIVER_READY_FD"  # for our own children only

_QUICK_S = 5.0
_MAX_PAUSE_S = 5.0
_FAILED, _WRONG = 1, 2

_log = get_logger(__name__)


class Child:
    """One child process of this program, kept running.

    Args:
        arguments: of `ampeco-receiver`.
        name: of this process among its siblings, in log lines; the command unless given.
        environ: complete environment of the child.
        grace_s: after SIGTERM, seconds until SIGKILL; None waits for as long as it takes.
        output: file descriptor that gets what it writes, logs included; None leaves it where the parent's goes.
        shared_fds: file descriptors that it shares with the parent, under the same numbers.
        on_end: called whenever it has ended, before it is started again.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        environ: Mapping[str, str],
        *,
        name: str | None = None,
        grace_s: float | None = None,
        output: int | None = None,
        shared_fds: Sequence[int] = (),
        on_end: Callable[[], None] = lambda: None,
    ) -> None:
        self._arguments = [sys.executable, "-P", "-m", "commands", *arguments]
        self._environ = dict(environ)
        self._grace_s = grace_s
        self._output = output
        self._shared_fds = tuple(shared_fds)
        self._on_end = on_end
        self.name = name or arguments[0]
        self._process: asyncio.subprocess.Process | None = None
        self.ready = asyncio.Event()

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        return None if self._process is None else self._process.pid

    async def keep_running(self, stop: asyncio.Event) -> int:
        """Run it until `stop`, again whenever it ends by itself.

        Returns:
            0 after `stop`; 2 at once when the child refuses its configuration.
        """
        pause_s = 0.1
        while not stop.is_set():
            started_s = time.monotonic()
            code = await self._run_once(stop)
            self._on_end()
            if stop.is_set():
                return 0
            if code == _WRONG:
                return code
            pause_s = 0.1 if time.monotonic() - started_s > _QUICK_S else min(_MAX_PAUSE_S, pause_s * 2)
            _log.warning("process.ended", process=self.name, exit_code=code, again_in_s=pause_s)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), pause_s)
        return 0

    async def _run_once(self, stop: asyncio.Event) -> int:
        receiving, sending = os.pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                *self._arguments,
                stdin=asyncio.subprocess.PIPE,
                stdout=self._output,
                stderr=self._output,
                start_new_session=True,
                pass_fds=(sending, *self._shared_fds),
                env={**self._environ, READY_FD: str(sending)},
            )
        except OSError as error:
            # No memory or no process left at this moment; its siblings must not go down with it.
            os.close(receiving)
            _log.warning("process.not_started", process=self.name, error=type(error).__name__)
            return _FAILED
        finally:
            os.close(sending)
        self._process = process
        loop = asyncio.get_running_loop()
        loop.add_reader(receiving, self._hear, receiving)
        stopping = asyncio.create_task(stop.wait())
        ended = asyncio.create_task(process.wait())
        try:
            await asyncio.wait({stopping, ended}, return_when=asyncio.FIRST_COMPLETED)
            if not ended.done():
                await self._end(process, ended)
        finally:
            stopping.cancel()
            loop.remove_reader(receiving)
            os.close(receiving)
            self.ready.clear()
            self._process = None
            if not ended.done():
                process.kill()
        return await ended

    def _hear(self, receiving: int) -> None:
        asyncio.get_running_loop().remove_reader(receiving)  # it says one thing, once
        if os.read(receiving, 1) == b"r":
            self.ready.set()

    async def _end(self, process: asyncio.subprocess.Process, ended: asyncio.Task[int]) -> None:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await asyncio.wait({ended}, timeout=self._grace_s)
        if not ended.done():
            _log.error("process.killed", process=self.name)
            process.kill()


@contextlib.asynccontextmanager
async def running(child: Child) -> AsyncIterator[asyncio.Task[int]]:
    """Keep a child running for as long as the block lasts, then end it politely.

    Yields:
        The task that keeps it; it ends early, with 2, when the child refuses its configuration.
    """
    stop = asyncio.Event()
    keeping = asyncio.create_task(child.keep_running(stop))
    try:
        yield keeping
    finally:
        stop.set()
        await keeping


def keep_what_is_loaded() -> None:
    """Look for garbage less often, and not among what is loaded by now.

    Python looks after every 700 new objects; at thousands of events a second that costs more than it finds.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 100)


def say_ready() -> None:
    """Tell the parent, if there is one that listens."""
    number = os.environ.pop(READY_FD, None)
    if number is not None:
        with contextlib.suppress(OSError):
            os.write(int(number), b"r")
            os.close(int(number))


def end_with_parent(also: Callable[[], None] = lambda: None) -> None:
    """Ask this process to stop politely when the process that started it is gone.

    Args:
        also: called before that, to do what is left undone.
    """

    def wait() -> None:
        while os.read(0, 4096):
            pass
        also()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="parent-watch", daemon=True).start()


child_option = click.option("--child", is_flag=True, hidden=True, help="Started by another process of ours.")
