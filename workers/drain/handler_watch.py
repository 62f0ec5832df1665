"""The services that one handler needs, as its attempts see them: which are away, and what that means for an attempt.

`service_watch.py` keeps what the process knows of these services.
"""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING

from redis.exceptions import RedisError

from eventlog.outages import AMPECO, MOST_NAMES, OTHERS, REST, Outage, service_of
from handlers.declaration import Backoff
from workers.delivery.outcomes import Outcome
from workers.delivery.patience import delay_s

if TYPE_CHECKING:
    from workers.drain.service_watch import ServiceWatch

AMPECO_AWAY = "ampeco-away"  # reason of an attempt that spends nothing, since AMPECO is away
LONGEST_LOST_S = 30 * 86_400.0  # of a delivery's age, so that no outage keeps it for ever

_TURNS = 4  # trials of other events before one that failed tries again
_POLICY = ("attempts-exhausted", "retried-too-long")  # reasons of dead letters that an outage puts off


class HandlerWatch:
    """The services of one handler (`workers.delivery.service.Watch`)."""

    def __init__(self, process: ServiceWatch, handler: str, backoff: Backoff) -> None:
        self.alert = False
        self._process = process
        self._handler = handler
        self._backoff = backoff
        self._until_ms = 0
        self._service = ""
        self._failed: set[str] = set()  # here; the log may not have said so yet

    def seen(self, until_ms: int, service: str) -> None:
        """Record until when the handler is held (by the clock of Redis; 0 when it is not), and by which service."""
        is_new = until_ms > max(self._until_ms, self._process.now_ms)
        self._until_ms, self._service = until_ms, service
        self.alert = self._process.counts_failures or until_ms > 0
        if is_new:
            self._process.hold(self._handler)

    @property
    def is_by_authors(self) -> bool:
        """Whether the handler is held because of a service that an author called unavailable."""
        return self._service.startswith(OTHERS)

    @property
    def outages(self) -> list[Outage]:
        """Return what is known of the services on which this handler ever failed."""
        return [each for each in self._process.known.outages.values() if self._handler in each.handlers]

    def lost_s(self, first_ms: int, began_ms: int) -> float:
        """Return for how long a service that the handler needs was away during a span of time.

        Args:
            first_ms, began_ms: from the first attempt to this one.
        """
        times: list[tuple[int, int]] = []
        for outage in self.outages:
            times += outage.past
            if outage.away_ms is not None:
                times.append((outage.away_ms, began_ms))
        lost_ms, at_ms = 0, first_ms
        for begin_ms, end_ms in sorted(times):  # two services may have been away at the same time
            lost_ms += max(0, min(end_ms, began_ms) - max(begin_ms, at_ms))
            at_ms = max(at_ms, end_ms)
        return min(lost_ms / 1000, LONGEST_LOST_S)

    def service_of(self, dependency: str) -> str:
        """Return the service for a name that an author called unavailable.

        A handler that names ever new ones, for instance with an event's id, has one service for all names beyond a
        limit.
        """
        service = service_of(dependency)
        return service if service in self._failed or len(self._failed) < MOST_NAMES else REST

    def refusal(self) -> str | None:
        """Return why AMPECO is not called now; None when it is, and also when no probe came in time."""
        process = self._process
        if not process.is_away(AMPECO):
            return None
        outage = process.known.outages.get(AMPECO)
        if outage is not None and self._until_ms <= process.now_ms and self._service == AMPECO:
            return None  # the hold is over and no probe was made: this event tries
        return "AMPECO is away, so nothing is sent"

    def answered(self) -> None:
        """Note that AMPECO answered, even with a refusal."""
        self._process.answered(AMPECO)

    def went_well(self) -> None:
        """Note that an event was handled, so the services that its author names are available."""
        for service in self._failed | {outage.service for outage in self.outages}:
            if service.startswith(OTHERS):
                self._process.answered(service)

    def failed(self, service: str, key: str, why: str, asked_s: float | None = None) -> None:
        """Note a failure of a service."""
        self._failed.add(service)
        self._process.failed(service, self._handler, key, why, asked_s)

    def knows_since(self, at_s: float) -> bool:
        """Return whether this process has learned what other processes reported up to a time.

        Args:
            at_s: in the clock of leases.
        """
        return self._process.looked_s >= at_s

    async def look(self) -> None:
        """Learn what other processes reported, if Redis answers."""
        try:
            await self._process.look()
        except (RedisError, OSError):
            pass

    async def passed(self) -> None:
        """Report that the event of a trial went well."""
        await self._process.passed(self._service, self._handler)

    async def judged(self, service: str, outcome: Outcome, *, refused: bool) -> Outcome:
        """Return the outcome of an attempt that failed on a service: while that is away, no attempt is spent."""
        process = self._process
        await process.until_noted()
        if refused and self._held_s <= 0:
            await self.look()  # another process may have seen it come back
            if process.is_away(service):
                self.failed(service, self._handler, "refused")
                await process.until_noted()
        held_s = self._held_s
        if not (held_s > 0 or refused) or not (outcome.kind == "retry" or outcome.reason in _POLICY):
            return outcome
        wait_s = delay_s(1, self._backoff, random.uniform)
        if not refused and not process.is_away(service):  # the event itself may be at fault: others try first
            wait_s += _TURNS * held_s
        if outcome.asked_s is not None:
            wait_s = max(wait_s, outcome.delay_s)
        reason = AMPECO_AWAY if service == AMPECO else outcome.reason
        return replace(outcome, kind="retry", reason=reason, delay_s=wait_s, counts=False, held=True)

    @property
    def _held_s(self) -> float:
        return (self._until_ms - self._process.now_ms) / 1000
