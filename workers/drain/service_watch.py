"""What this process knows of the services that its handlers need, and what it says of them to the log.

The log decides for all workers (`eventlog/outages.py`). A failure is reported at once. A success is reported only
while failures are counted, here or in another process: usually none are, and then it costs nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import structlog
from redis.exceptions import RedisError

from eventlog.lease import clock_s
from eventlog.outages import (
    AMPECO,
    MOST_NAMES,
    OTHERS,
    REST,
    Known,
    Outage,
    Outages,
    Verdict,
    known_outages,
    service_of,
)
from handlers.declaration import Backoff
from workers.delivery.outcomes import Outcome
from workers.delivery.patience import delay_s

AMPECO_AWAY = "ampeco-away"  # reason of an attempt that spends nothing, since AMPECO is away
LONGEST_LOST_S = 30 * 86_400.0  # of a delivery's age, so that no outage keeps it for ever

_MOST_WAITING = 1_000  # reports
_BATCH = 20  # failures in one report
_ANSWER_S = 2.0
_TURNS = 4  # trials of other events before one that failed tries again
_POLICY = ("attempts-exhausted", "retried-too-long")  # reasons of dead letters that an outage puts off

_log = structlog.get_logger()


@dataclass(slots=True)
class _Report:
    """Failures of one handler in a row; without `entities` the word that the service answered."""

    service: str
    handler: str
    at_s: float
    why: str = ""
    asked_s: float | None = None
    entities: list[str] = field(default_factory=list)


class ServiceWatch:
    """The services that the handlers of this process need.

    Args:
        outages: reports to the log.
        hold: called with the name of a handler that is held from now on.

    Attributes:
        known: what the log said last.
        looked_s: when it was asked for that, in the clock of leases.
        outages: reports to the log, by the rules of this process.
    """

    def __init__(self, outages: Outages, hold: Callable[[str], None]) -> None:
        self.known = Known(0, {}, ())
        self.looked_s = float("-inf")
        self.outages = outages
        self._ahead_ms = 0.0  # of our clock, the clock of Redis
        self._hold = hold
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._handlers: dict[str, HandlerWatch] = {}
        self._reports: deque[_Report] = deque(maxlen=_MOST_WAITING)
        self._telling: asyncio.Task[None] | None = None
        self._restless: set[str] = set()  # services of which failures are counted
        self._answered_s: dict[str, float] = {}
        self._said_s: dict[str, float] = {}  # up to when an answer is reported
        self._away: set[str] = set()

    def of(self, handler: str, backoff: Backoff) -> HandlerWatch:
        """Return the part that one handler's attempts see."""
        watch = self._handlers[handler] = HandlerWatch(self, handler, backoff)
        return watch

    @property
    def probe_is_due(self) -> bool:
        """Whether AMPECO is away, and it is time to ask whether it is back."""
        outage = self.known.outages.get(AMPECO)
        return outage is not None and outage.next_ms is not None and self.now_ms >= outage.next_ms

    @property
    def now_ms(self) -> float:
        """Return the time by the clock of Redis, as far as it is known."""
        return clock_s() * 1000 + self._ahead_ms

    async def look(self) -> None:
        """Learn what other processes reported; raises RedisError or OSError without Redis."""
        asked_s = clock_s()
        self.known = await known_outages(self.outages.log)
        self.looked_s = asked_s
        self._forget_answers()
        self._ahead_ms = self.known.at_ms - clock_s() * 1000
        self._restless = {
            name
            for name, outage in self.known.outages.items()
            if outage.failures or outage.away_ms is not None
        }
        for name in tuple(self._restless):
            if self._answered_s.get(name, 0.0) > self._said_s.get(name, 0.0):
                self._queue_answer(name)
        self._tell_changes()
        held = {hold.handler: hold for hold in self.known.holds if hold.lane is None}
        for name, watch in self._handlers.items():
            hold = held.get(name)
            watch.seen(hold.until_ms if hold else 0, hold.service if hold else "")

    def answered(self, service: str) -> None:
        """Note that a service did what was asked of it, or refused it."""
        self._answered_s[service] = clock_s()
        if service in self._restless:
            self._in_loop(self._queue_answer, service)

    def failed(self, service: str, handler: str, key: str, why: str, asked_s: float | None) -> None:
        """Note a failure, and report it at once."""
        self._in_loop(self._queue_failure, service, handler, key, why, asked_s)

    def is_away(self, service: str) -> bool:
        """Whether a service is away, as far as this process knows."""
        return service in self._away

    async def passed(self, service: str, handler: str) -> None:
        """Report that an event of a handler that was held went well."""
        try:
            await self.outages.answered(service, 0.0, tried=handler)
            await self.look()
        except (RedisError, OSError):
            pass  # the hold is over; the next drain tries again

    async def until_noted(self) -> None:
        """Wait until the log knows what was noted, or does not answer."""
        if self._telling is not None:
            await asyncio.wait({self._telling}, timeout=_ANSWER_S)

    def _forget_answers(self) -> None:
        """Forget answers of services without failures in the log: authors may name ever new ones."""
        for times in (self._answered_s, self._said_s):
            for name in list(times):
                if name != AMPECO and name not in self.known.outages:  # threads note answers of AMPECO
                    times.pop(name, None)

    def _in_loop(self, call: Callable[..., None], *arguments: object) -> None:
        if threading.get_ident() == self._thread:
            call(*arguments)
        else:
            self._loop.call_soon_threadsafe(call, *arguments)

    def _queue_answer(self, service: str) -> None:
        at_s = self._answered_s[service]
        self._said_s[service] = at_s
        self._restless.discard(service)
        # What failed here before it was not in a row with what fails after it.
        kept = [each for each in self._reports if each.service != service]
        self._reports.clear()
        self._reports.extend(kept)
        self._queue(_Report(service, "", at_s))

    def _queue_failure(self, service: str, handler: str, key: str, why: str, asked_s: float | None) -> None:
        self._restless.add(service)
        for watch in self._handlers.values():
            watch.alert = True
        entity = hashlib.blake2b(key.encode(), digest_size=6).hexdigest()
        last = self._reports[-1] if self._reports else None
        same = last is not None and (last.service, last.handler) == (service, handler)
        if last is not None and same and len(last.entities) < _BATCH:
            last.entities.append(entity)
            last.why, last.asked_s = why, asked_s
            return
        self._queue(_Report(service, handler, clock_s(), why, asked_s, [entity]))

    def _queue(self, report: _Report) -> None:
        self._reports.append(report)
        if self._telling is None or self._telling.done():
            self._telling = asyncio.create_task(self._tell())

    async def _tell(self) -> None:
        while self._reports:
            report = self._reports.popleft()
            try:
                if not report.entities:
                    await self.outages.answered(report.service, clock_s() - report.at_s)
                    continue
                verdict = await self.outages.failed(
                    report.service, report.handler, report.why, report.entities, asked_s=report.asked_s
                )
            except (RedisError, OSError):
                self._reports.clear()  # without Redis nothing goes on anyway
                return
            self._take_in(report, verdict)

    def _take_in(self, report: _Report, verdict: Verdict) -> None:
        self._ahead_ms = verdict.at_ms - clock_s() * 1000
        if verdict.is_away and report.service not in self._away:
            self._away.add(report.service)
            _log.warning("service.away", service=report.service, why=report.why)
        watch = self._handlers.get(report.handler)
        if watch is not None and verdict.held_ms:
            watch.seen(verdict.held_ms, report.service)

    def _tell_changes(self) -> None:
        away = {name for name, outage in self.known.outages.items() if outage.away_ms is not None}
        for name in sorted(away - self._away):
            _log.warning("service.away", service=name, why=self.known.outages[name].why)
        for name in sorted(self._away - away):
            _log.info("service.back", service=name)
        self._away = away

    def hold(self, handler: str) -> None:
        """Stop the drains of a handler."""
        self._hold(handler)


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
        """Take in until when the handler is held, by the clock of Redis, and by what; 0 when it is not."""
        is_new = until_ms > max(self._until_ms, self._process.now_ms)
        self._until_ms, self._service = until_ms, service
        self.alert = bool(self._process._restless or until_ms)  # noqa: SLF001
        if is_new:
            self._process.hold(self._handler)

    @property
    def is_by_authors(self) -> bool:
        """Whether the handler is held by what an author called unavailable."""
        return self._service.startswith(OTHERS)

    @property
    def outages(self) -> list[Outage]:
        """Return what is known of the services on which this handler ever failed."""
        return [each for each in self._process.known.outages.values() if self._handler in each.handlers]

    def lost_s(self, first_ms: int, began_ms: int) -> float:
        """Return for how much of a time something that the handler needs was away.

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
        """Return the service that is meant by what an author calls unavailable.

        A handler that names ever new ones, as with an id of the event, has one service for all but the first of them.
        """
        service = service_of(dependency)
        return service if service in self._failed or len(self._failed) < MOST_NAMES else REST

    def refusal(self) -> str | None:
        """Say why AMPECO is not called now; None when it is, also where no probe came in time."""
        process = self._process
        if not process.is_away(AMPECO):
            return None
        outage = process.known.outages.get(AMPECO)
        if outage is not None and self._until_ms <= process.now_ms and self._service == AMPECO:
            return None  # the hold is over and no probe was made: this event tries
        return "AMPECO is away, so nothing is sent"

    def answered(self) -> None:
        """AMPECO did what was asked of it, or refused it."""
        self._process.answered(AMPECO)

    def went_well(self) -> None:
        """An event was handled, so what its author calls unavailable is not."""
        for service in self._failed | {outage.service for outage in self.outages}:
            if service.startswith(OTHERS):
                self._process.answered(service)

    def failed(self, service: str, key: str, why: str, asked_s: float | None = None) -> None:
        """A service did not do what was asked of it."""
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
        """The event that tried went well."""
        await self._process.passed(self._service, self._handler)

    async def judged(self, service: str, outcome: Outcome, *, refused: bool) -> Outcome:
        """Return what becomes of an attempt that failed on a service: while it is away, none is spent."""
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
        reason = AMPECO_AWAY if service == AMPECO else outcome.reason
        return replace(outcome, kind="retry", reason=reason, delay_s=wait_s, counts=False, held=True)

    @property
    def _held_s(self) -> float:
        return (self._until_ms - self._process.now_ms) / 1000
