"""Another process of ours that runs for as long as this one does: started again when it ends, never left behind.

Its standard input is a pipe that only this process holds open, so that it notices even our SIGKILL. Knows nothing
of what it does.
"""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Sequence

import structlog

_QUICK_S = 5.0
_PAUSE_S, _MAX_PAUSE_S = 0.1, 5.0

_log = structlog.get_logger()


class Supervisor:
    """One such process."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = list(command)
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="beside", daemon=True)

    def start(self) -> None:
        """Run it from now on."""
        self._thread.start()

    def stop_soon(self) -> None:
        """Ask it to stop politely; safe in a signal handler of another thread than its own."""
        self._stopping.set()
        process = self._process
        if process is not None:
            process.terminate()

    def join(self) -> None:
        """Wait until it is gone."""
        if self._thread.is_alive():
            self.stop_soon()
            self._thread.join()

    def _keep(self) -> None:
        pause_s = _PAUSE_S
        while not self._stopping.is_set():
            started_s = time.monotonic()
            with subprocess.Popen(self._command, stdin=subprocess.PIPE) as process:  # noqa: S603 - our own
                self._process = process
                if self._stopping.is_set():
                    process.terminate()
                code = process.wait()
                self._process = None
            if self._stopping.is_set():
                return
            pause_s = _PAUSE_S if time.monotonic() - started_s > _QUICK_S else min(_MAX_PAUSE_S, pause_s * 2)
            _log.warning("process.ended", process="isolated", exit_code=code, again_in_s=pause_s)
            self._stopping.wait(pause_s)
