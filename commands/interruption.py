"""Ctrl-C while the program starts or ends: it ends at once, without the traceback of a KeyboardInterrupt."""

from __future__ import annotations

import signal
import threading
from typing import Any


def end_at_once() -> None:
    """Let SIGINT end the process, where Python would raise KeyboardInterrupt."""
    _exchange(signal.default_int_handler, signal.SIG_DFL)


def raise_again() -> None:
    """Let SIGINT raise KeyboardInterrupt, after `end_at_once`."""
    _exchange(signal.SIG_DFL, signal.default_int_handler)


def _exchange(old: Any, new: Any) -> None:
    in_main_thread = threading.current_thread() is threading.main_thread()
    if in_main_thread and signal.getsignal(signal.SIGINT) == old:
        signal.signal(signal.SIGINT, new)


end_at_once()
