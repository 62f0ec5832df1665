"""One call of an attempt to AMPECO, as the log keeps it: a line of text. Pure.

The line is `operation path outcome status duration`, such as `charge-point.reset
/public-api/actions/charge-point/v1.0/12/reset/soft ok 202 140ms`. Records of older code end with the status.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from eventlog.text import CUT, bounded

_LINE = re.compile(
    r"(?P<operation>.+) (?P<path>/\S*) (?P<outcome>[a-z0-9-]{1,50}) (?P<status>\d{3}|None)(?: (?P<ms>\d{1,9})ms)?"
)
_TEXT_CHARS = 250  # of operation and path, so that what follows is never cut off


class Call(NamedTuple):
    """One call.

    Attributes:
        outcome: `ok`, the reason of an error, or `cancelled`.
        status: of the answer; None without one.
        ms: its duration; None when it was not sent, and in records of older code.
    """

    operation: str
    path: str
    outcome: str
    status: int | None
    ms: int | None = None

    def line(self) -> str:
        """Return the call as the log keeps it."""
        took = "" if self.ms is None else f" {self.ms}ms"
        return f"{bounded(f'{self.operation} {self.path}', _TEXT_CHARS)} {self.outcome} {self.status}{took}"


def read_call(line: str) -> Call | None:
    """Read a line; None when it is not a call, such as the line that counts calls that were left out."""
    found = _LINE.fullmatch(line)
    if found is None:
        return None
    status, ms = found["status"], found["ms"]
    return Call(
        found["operation"],
        found["path"],
        found["outcome"],
        None if status == "None" else int(status),
        None if ms is None else int(ms),
    )


def more(number: int) -> str:
    """Return the line that stands for calls that were left out."""
    return f"{CUT} {number} more"
