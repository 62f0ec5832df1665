"""What a drain finds when it takes a lane: events that the drains before it left open or handed out.

All of them are read before anything starts, so that each event has one Entry and each key its order.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from eventlog.lease import Lease, Read, Taken
from eventlog.record import StoredEvent, id_order
from workers.delivery.handler_key import HandlerKey
from workers.drain.lane_steps import KEYS_AT_ONCE
from workers.drain.open_keys import ask_one_by_one, key_after_deaths
from workers.drain.reader import Reader
from workers.drain.window import Window


class Takeover:
    """Joins the events that were handed out before: the open ones, and those in (cur, runto].

    Attributes:
        is_partial: whether a part was not read, since only newer code may judge it. Then all of it stays as it is.

    Args:
        key_of: makes the handler's own key of an event; None where it has none.
    """

    def __init__(
        self,
        lease: Lease,
        window: Window,
        reader: Reader,
        key_of: Callable[[StoredEvent], HandlerKey] | None,
    ) -> None:
        self.is_partial = False
        self._lease = lease
        self._window = window
        self._reader = reader
        self._key_of = key_of
        # Up to here keys wait for the attempts of their events.
        self._tied_until: tuple[int, int] | None = None

    @property
    def asks_keys(self) -> bool:
        """Whether the handler has keys of its own, which its code makes."""
        return self._key_of is not None

    async def take_up(self, taken: Taken, read_on: Callable[[], Awaitable[Read]]) -> None:
        """Read it, and bring it into its order.

        Args:
            read_on: reads what comes next of what was handed out.
        """
        window = self._window
        if self._reader.first_for_newer([record.event for record in taken.open], taken.newest) is not None:
            self.is_partial = True
            await self._end_asking(taken, asked=False)
            return
        self._reader.begin(len(taken.open))
        handed_out = id_order(taken.runto)
        if self._key_of and _left_at_work(taken):
            self._tied_until = handed_out
            window.tie_entities()
        elif self._key_of and taken.asked_before:
            await ask_one_by_one(self._lease, self._key_of, taken.open)
        for count, record in enumerate(taken.open, 1):
            window.recall(record, key_after_deaths(record) if self._key_of else None)
            if self._key_of and not count % KEYS_AT_ONCE:
                await asyncio.sleep(0)  # keys cost a parse each, and thousands of events may be open
        await self._end_asking(taken, asked=self._tied_until is None)
        until = max([handed_out, *(record.event.order for record in taken.open)])
        while id_order(window.cursor.pos) < until and not self._reader.outdated:
            read = await read_on()
            for event in read.events:
                window.reread(event, settled=event.stream_id in taken.ahead)
            if read.unreadable and not read.events:
                self.is_partial = True
                return
            if read.exhausted:
                break
        self.is_partial = self._reader.outdated
        window.arrange(handed_out)

    async def _end_asking(self, taken: Taken, *, asked: bool) -> None:
        """Remove the note that keys of open events are asked for, since the process survived or asked for none."""
        if self._key_of and taken.open and (asked or not taken.asked_before):
            await self._lease.asked()

    def frees_keys(self, *, suspects: bool) -> bool:
        """Return whether to take the lane again, since its events may be asked for their keys now.

        That is so when each event that a dead worker may have left at work has ended, or waits in `open`.

        Args:
            suspects: some run, or wait to run.
        """
        until = self._tied_until
        return until is not None and not suspects and id_order(self._window.cursor.cur) >= until


def _left_at_work(taken: Taken) -> bool:
    """Return whether the drain before ended without giving the lane back."""
    handed_out = id_order(taken.runto) > id_order(taken.cur)
    return handed_out or any(record.state == "running" for record in taken.open)
