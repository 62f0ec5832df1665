"""Ctrl-C while the program starts or ends: it ends at once, without the traceback of a KeyboardInterrupt."""

from __future__ import annotations

import signal
import threading


def end_at_once() -> None:
    """Let SIGINT end the process, where Python would raise KeyboardInterrupt."""
    if threading.current_thread() is threading.main_thread():
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, signal.SIG_DFL)


def raise_again() -> None:
    """Let SIGINT raise KeyboardInterrupt, after `end_at_once`."""
    if threading.current_thread() is threading.main_thread():
        if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
            signal.signal(signal.SIGINT, signal.default_int_handler)


end_at_once()
