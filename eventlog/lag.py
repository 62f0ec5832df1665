"""How far each handler is behind: read it, and count again where the log's own counts do not suffice.

Reading takes numbers only, so it costs the same with any backlog. Counting reads the events inside Redis, slice by
slice. Housekeeping counts after a change of the types that a handler wants, or on a log that earlier code wrote.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from eventlog.log import EventLog

_PAIRS = 512  # per script call, so that none blocks Redis for long
_SLICE = 2_000  # entries per script call
_CALL = 50  # what a call costs that reads nothing, in entries
_MOST = 40_000


@dataclass(frozen=True)
class Lag:
    """What a handler has not settled. An inexact number is an upper bound.

    Attributes:
        waiting: wanted events that are neither settled nor in `open`.
        open: records in `open`.
        oldest_age_s: age of the oldest event of both; None without one.
        to_count: lanes whose events must be counted.
        retrying: records in `open` that are due at a time of their own: retries and replays.
        parked: records in `open` that wait behind an earlier one of their key; not exact where older code was.
        waiting_age_s: for how long the first waiting event has waited, at most; None without one.
    """

    waiting: int
    waiting_is_exact: bool
    open: int
    oldest_age_s: float | None
    oldest_is_exact: bool
    to_count: tuple[int, ...] = ()
    retrying: int = 0
    waiting_age_s: float | None = None
    parked: int = 0


NO_LAG = Lag(0, True, 0, None, True)


async def lags_of(log: EventLog, names: Sequence[str]) -> dict[str, Lag]:
    """Return the lag of each of these handlers."""
    found = {}
    step = max(1, _PAIRS // log.lanes)
    for start in range(0, len(names), step):
        asked = names[start : start + step]
        answers = await log.scripts.lag(args=[log.prefix, log.lanes, *asked])
        for name, (waiting, exact, opened, age_ms, age_exact, lanes, due, waits_ms, parked) in zip(
            asked, answers, strict=True
        ):
            age_s, waits_s = (None if ms < 0 else ms / 1000 for ms in (age_ms, waits_ms))
            found[name] = Lag(
                waiting, bool(exact), opened, age_s, bool(age_exact), tuple(lanes), due, waits_s, parked
            )
    return found


async def count_waiting(log: EventLog, names: Sequence[str], *, most: int | None = _MOST) -> bool:
    """Count the waiting events of the pairs for which that is necessary, each in turn.

    Args:
        most: entries to read, about; None to go on to the end.

    Returns:
        Whether every pair is counted. One is not while a drain holds events that it read by earlier types.
    """
    lags = await lags_of(log, names)
    pairs = [(name, lane) for name, lag in lags.items() for lane in lag.to_count]
    left, complete = most, True
    while pairs:
        unfinished = []
        for at, (name, lane) in enumerate(pairs):
            if left is not None and left <= 0:
                return False
            status, looked = await log.scripts.count(args=[log.prefix, name, lane, _SLICE])
            if status == b"more":
                unfinished.append(pairs[at])
            complete = complete and status in (b"more", b"done")
            if left is not None:
                left -= max(_CALL, looked)
        pairs = unfinished
    return complete
