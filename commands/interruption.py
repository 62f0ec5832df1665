"""Ctrl-C while the program starts or ends: it ends at once, without the traceback of a KeyboardInterrupt."""

from __future__ import annotations

import signal
import sys

TYPE_CHECKING = False  # importing `typing` takes a moment in which Ctrl-C still prints a traceback
if TYPE_CHECKING:
    from typing import Any


def end_at_once() -> None:
    """Let SIGINT end the process, where Python would raise KeyboardInterrupt."""
    _exchange(signal.default_int_handler, signal.SIG_DFL)


def raise_again() -> None:
    """Let SIGINT raise KeyboardInterrupt, after `end_at_once`."""
    _exchange(signal.SIG_DFL, signal.default_int_handler)


def end_where_it_would_be_lost() -> None:
    """Let SIGINT end the process where Python drops a KeyboardInterrupt, as in a callback of the import system."""
    before = sys.unraisablehook

    def hook(dropped: Any) -> None:
        if dropped.exc_type is KeyboardInterrupt:
            end_at_once()
            signal.raise_signal(signal.SIGINT)
        before(dropped)

    sys.unraisablehook = hook


def _exchange(old: Any, new: Any) -> None:
    if signal.getsignal(signal.SIGINT) == old:
        try:
            signal.signal(signal.SIGINT, new)
        except ValueError:  # not in the main thread
            pass


end_at_once()
