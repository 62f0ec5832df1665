"""A fork of this process for one piece of work. It is killed when it outlives its time."""

from __future__ import annotations

import contextlib
import math
import os
import random
import signal
import time
from collections.abc import Callable
from typing import NoReturn

import structlog

_LOOK_S = 0.02  # how often a fork is checked
_SIGNALS = frozenset((signal.SIGTERM, signal.SIGINT))

_log = structlog.get_logger()


class TimedFork:
    """At most one fork at a time.

    Args:
        longest_s: maximum lifetime of a fork, in seconds.
    """

    def __init__(self, longest_s: float) -> None:
        self._longest_s = longest_s
        self._pid = 0

    @property
    def runs(self) -> bool:
        """Whether a fork runs."""
        return bool(self._pid)

    def run(
        self, work: Callable[[], object], *, between: Callable[[], object], is_stopping: Callable[[], bool]
    ) -> None:
        """Do the work in a fork, and wait for its end.

        Args:
            between: called here many times a second meanwhile.
            is_stopping: returns whether this process was asked to stop, so that the fork has to end soon.
        """
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)  # the fork must not run our handler
        try:
            self._pid = os.fork()
            if not self._pid:
                _be_the_fork(work)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        try:
            status = self._watch(self._pid, between, is_stopping)
        finally:
            self._pid = 0
        if status:
            _log.warning("process.died", process="isolated", exit_code=os.waitstatus_to_exitcode(status))

    def ask_to_end(self) -> None:
        """Ask a fork that runs to end soon. A signal handler may call this."""
        if self._pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGTERM)

    def _watch(self, pid: int, between: Callable[[], object], is_stopping: Callable[[], bool]) -> int:
        """Wait until the fork has ended; kill it when it outlives its time. Return its wait status."""
        with contextlib.suppress(OSError):
            os.setpgid(pid, pid)  # so that a kill right after its birth finds its group
        if is_stopping():
            self.ask_to_end()  # another thread got the signal while we forked
        end_s = time.monotonic() + self._longest_s
        while True:
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                return status
            if time.monotonic() > end_s:
                _log.error("process.killed", process="isolated", reason="it outlived its time")
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(pid, signal.SIGKILL)
                end_s = math.inf
            between()
            time.sleep(_LOOK_S)


def _be_the_fork(work: Callable[[], object]) -> NoReturn:
    code = 1
    try:
        os.setpgrp()
        random.seed()
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        work()
        code = 0
    finally:
        os._exit(code)
