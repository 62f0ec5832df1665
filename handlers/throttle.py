"""How often a handler may act for one key: what `throttle=` of a declaration says. It knows nothing of Redis."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal, get_args

from handlers.shown_value import shown

Over = Literal["skip", "wait"]
"""What becomes of an event over the limit: it is skipped, or waits until a slot is free."""

MOST: Final = 1_000
"""The highest number of a rate: so many slots are kept for each key."""

_RATE = re.compile(r"([1-9][0-9]{0,3})/([smhd])", re.ASCII)
_UNITS_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


@dataclass(frozen=True, slots=True)
class Throttle:
    """At most so many attempts that end as done, for each key of the handler, within a moving window.

    Args:
        rate: number and unit of time, as `1/h`: `s`, `m`, `h` or `d` for a second, minute, hour or day.
        over: what happens to an event over the limit. `skip` settles it as skipped with the reason `throttled`;
            `wait` tries it again when a slot is free, without spending an attempt.
    """

    rate: str
    over: Over = "skip"

    @property
    def limit(self) -> int:
        """The number of slots within one window."""
        return int(self.rate.partition("/")[0])

    @property
    def window_s(self) -> int:
        """Seconds for which a slot is taken."""
        return _UNITS_S[self.rate.partition("/")[2]]


def fault_of(made: object) -> str | None:
    """Return what is wrong with a throttle in one line, or None."""
    if type(made) is not Throttle:
        return 'throttle must be a rate as "1/h", or Throttle("1/h", over="wait")'
    found = _RATE.fullmatch(made.rate) if isinstance(made.rate, str) else None
    if found is None or int(found[1]) > MOST:
        needs = f'throttle needs a number of at most {MOST:,} and one of s, m, h, d, as "1/h"'
        return f"{needs}; it is {shown(made.rate)}"
    if made.over not in get_args(Over):
        return "throttle needs over='skip' or over='wait'"
    return None
