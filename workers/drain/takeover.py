"""What a drain finds when it takes a lane: what the drains before it left open or handed out.

All of it is read before anything starts, so that each event has one Entry and each key its order.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from eventlog.lease import Read, Taken
from eventlog.record import id_order
from workers.drain.lane_steps import KEYS_AT_ONCE
from workers.drain.reader import Reader
from workers.drain.window import Window


class Takeover:
    """Puts together what was handed out before: what is open, and what lies in (cur, runto].

    Attributes:
        is_partial: part of it was not read, since only newer code may judge it. All of it stays as it is.

    Args:
        has_keys: whether the handler has keys of its own.
    """

    def __init__(self, window: Window, reader: Reader, *, has_keys: bool) -> None:
        self.is_partial = False
        self._window = window
        self._reader = reader
        self._has_keys = has_keys
        # Up to here keys wait for the attempts of their events.
        self._tied_until: tuple[int, int] | None = None

    async def take_up(self, taken: Taken, read_on: Callable[[], Awaitable[Read]]) -> None:
        """Read it, and bring it into its order.

        Args:
            read_on: reads what comes next of what was handed out.
        """
        window = self._window
        if self._reader.first_for_newer([record.event for record in taken.open], taken.newest) is not None:
            self.is_partial = True
            return
        self._reader.begin(len(taken.open))
        handed_out = id_order(taken.runto)
        if self._has_keys and _left_at_work(taken):
            self._tied_until = handed_out
            window.tie_entities()
        for count, record in enumerate(taken.open, 1):
            window.recall(record)
            if self._has_keys and not count % KEYS_AT_ONCE:
                await asyncio.sleep(0)  # keys cost a parse each, and thousands of events may be open
        until = max([handed_out, *(record.event.order for record in taken.open)])
        while id_order(window.cursor.pos) < until and not self._reader.outdated:
            read = await read_on()
            for event in read.events:
                window.reread(event, settled=event.stream_id in taken.ahead)
            if read.exhausted:
                break
        self.is_partial = self._reader.outdated
        window.arrange(handed_out)

    def frees_keys(self, *, suspects: bool) -> bool:
        """Whether the lane is to be taken again, since its events may be asked for their keys now.

        That is so when what a worker that died may have left at work came to its end, or waits in `open`.

        Args:
            suspects: some run, or wait to run.
        """
        until = self._tied_until
        return until is not None and not suspects and id_order(self._window.cursor.cur) >= until


def _left_at_work(taken: Taken) -> bool:
    """Return whether the drain before ended without giving the lane back."""
    handed_out = id_order(taken.runto) > id_order(taken.cur)
    return handed_out or any(record.state == "running" for record in taken.open)
