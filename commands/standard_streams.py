"""Opens the standard streams that a process was started without.

The next socket would get their numbers: libuv ends a process that closes such a socket, and what is printed would go
into a connection.
"""

from __future__ import annotations

import os
import sys


def open_missing() -> None:
    """Open the null device for those of file descriptors 0, 1 and 2 that are closed."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
            os.set_inheritable(number, True)  # as children expect of these three
    for name, number, mode in (("stdin", 0, "r"), ("stdout", 1, "w"), ("stderr", 2, "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115
