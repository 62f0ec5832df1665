"""The supervisor of child processes: it restarts them, and none outlives its parent.

A child's standard input is a pipe that only the parent holds open, so the child notices even a SIGKILL of the parent.
A second pipe carries the child's signal that it is ready, or that it has nothing to do. Then it carries a beat each
second while the child does not hang. A child that closes the pipe after that signal is not watched. Each child has
its own session: a terminal's Ctrl-C reaches only the parent, which stops its children in the order it chooses. The
supervisor does not know what a child does.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence

import structlog

READY_FD = "_AMPECO_RECEIVER_READY_FD"  # only from a supervisor to its child

_QUICK_S = 5.0
_MAX_PAUSE_S = 5.0
_BEAT_S = 1.0
_MISSED_BEATS = 15  # counted, since the clock also passes while the supervisor itself is paused
_FAILED, _REFUSED = 1, 2

_log = structlog.get_logger()


class Child:
    """Keep one child process running.

    Args:
        command: program and arguments.
        environ: complete environment of the child.
        name: name of this child in log lines.
        grace_s: seconds between SIGTERM and SIGKILL; None never sends SIGKILL.
        output: file descriptor for the child's stdout and stderr; None shares the parent's.
        shared_fds: file descriptors that the child inherits under the same numbers.
        on_end: called each time the child has ended, before it starts again.
        gives_up: return when the child exits with 2 (configuration refused) instead of restarting it.
    """

    def __init__(
        self,
        command: Sequence[str],
        environ: Mapping[str, str],
        *,
        name: str,
        grace_s: float | None = None,
        output: int | None = None,
        shared_fds: Sequence[int] = (),
        on_end: Callable[[], None] = lambda: None,
        gives_up: bool = True,
    ) -> None:
        self._command = list(command)
        self._environ = dict(environ)
        self._grace_s = grace_s
        self._output = output
        self._shared_fds = tuple(shared_fds)
        self._on_end = on_end
        self._gives_up = gives_up
        self.name = name
        self._process: asyncio.subprocess.Process | None = None
        self._beats = False  # since the first one, until it closes the pipe
        self._missed = 0
        self.ready = asyncio.Event()
        self.serves_nothing = False

    @property
    def pid(self) -> int | None:
        """Process id while the child runs."""
        return None if self._process is None else self._process.pid

    async def keep_running(self, stop: asyncio.Event) -> int:
        """Run the child until `stop`, and restart it each time it ends by itself.

        The pause before a restart doubles, from 0.2 s up to 5 s, while the child ends within 5 s of its start.

        Returns:
            0 after `stop`; 2 as soon as the child refuses its configuration.
        """
        pause_s = 0.1
        while not stop.is_set():
            started_s = time.monotonic()
            code = await self._run_once(stop)
            self._on_end()
            if stop.is_set():
                return 0
            if code == _REFUSED and self._gives_up:
                return code
            pause_s = 0.1 if time.monotonic() - started_s > _QUICK_S else min(_MAX_PAUSE_S, pause_s * 2)
            _log.warning("process.ended", process=self.name, exit_code=code, again_in_s=pause_s)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await stop.wait()
        return 0

    async def _run_once(self, stop: asyncio.Event) -> int:
        receiving, sending = os.pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.PIPE,
                stdout=self._output,
                stderr=self._output,
                start_new_session=True,
                pass_fds=(sending, *self._shared_fds),
                env={**self._environ, READY_FD: str(sending)},
            )
        except OSError as error:
            # The machine lacks memory or process ids for the moment. The other children must keep running.
            os.close(receiving)
            _log.warning("process.not_started", process=self.name, error=type(error).__name__)
            return _FAILED
        finally:
            os.close(sending)
        self._process = process
        loop = asyncio.get_running_loop()
        loop.add_reader(receiving, self._read_ready, receiving)
        stopping = asyncio.create_task(stop.wait())
        ended = asyncio.create_task(process.wait())
        hung = asyncio.create_task(self._until_hung())
        try:
            await asyncio.wait({stopping, ended, hung}, return_when=asyncio.FIRST_COMPLETED)
            if not ended.done() and not hung.done():
                await self._stop(process, ended, hung)
            if not ended.done() and hung.done():
                _log.error("process.killed", process=self.name, pid=process.pid, reason="it hangs")
                _kill(process)
        finally:
            stopping.cancel()
            hung.cancel()
            loop.remove_reader(receiving)
            os.close(receiving)
            self.ready.clear()
            self.serves_nothing = False
            self._process = None
            if not ended.done():
                _kill(process)
        return await ended

    def _read_ready(self, receiving: int) -> None:
        said = os.read(receiving, 4096)
        if b"r" in said or b"n" in said:
            self.serves_nothing = said.rfind(b"n") > said.rfind(b"r")  # the last word counts
        if b"r" in said:
            self.ready.set()
        if b"b" in said:
            self._beats, self._missed = True, 0
        if not said:
            asyncio.get_running_loop().remove_reader(receiving)
            self._beats = False

    async def _until_hung(self) -> None:
        """Wait until a child that has beaten misses too many beats."""
        self._beats, self._missed = False, 0
        while self._missed < _MISSED_BEATS:
            await asyncio.sleep(_BEAT_S)
            self._missed = self._missed + 1 if self._beats else 0

    async def _stop(
        self, process: asyncio.subprocess.Process, ended: asyncio.Task[int], hung: asyncio.Task[None]
    ) -> None:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await asyncio.wait({ended, hung}, timeout=self._grace_s, return_when=asyncio.FIRST_COMPLETED)
        if not ended.done() and not hung.done():
            _log.error("process.killed", process=self.name, pid=process.pid, reason="it outlived its time")
            _kill(process)


def _kill(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):  # it has ended, and its `wait` is about to return
        process.kill()


@contextlib.asynccontextmanager
async def running(child: Child) -> AsyncIterator[asyncio.Task[int]]:
    """Keep a child running during the block, then stop it with SIGTERM.

    Yields:
        The task that runs the child. It ends early, with 2, when the child refuses its configuration.
    """
    stop = asyncio.Event()
    keeping = asyncio.create_task(child.keep_running(stop))
    try:
        yield keeping
    finally:
        stop.set()
        await keeping


class ChildThread:
    """Keep a child running from a thread with its own event loop.

    For a process whose main thread must not wait and whose event loop may be blocked by a handler.
    """

    def __init__(self, child: Child) -> None:
        self._child = child
        self._loop = asyncio.SelectorEventLoop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)

    def start(self) -> None:
        """Start the child, and restart it from now on."""
        self._thread.start()

    def stop_soon(self) -> None:
        """Ask the child to stop, without waiting. A signal handler may call it."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: the child has ended
            self._loop.call_soon_threadsafe(self._stop.set)

    @property
    def is_alive(self) -> bool:
        """Whether the child runs, or is about to run."""
        return self._thread.is_alive()

    def join(self) -> None:
        """Stop the child and wait until it has ended."""
        self.stop_soon()
        self._thread.join()

    def _run(self) -> None:
        with contextlib.closing(self._loop):
            self._loop.run_until_complete(self._child.keep_running(self._stop))
