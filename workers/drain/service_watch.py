"""What this process knows of the services that its handlers need, and its reports of them to the log.

The log decides for all workers (`eventlog/outages.py`). A failure is reported at once. A success is reported only
while failures are counted, here or in another process: usually none are, and then it costs nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog
from redis.exceptions import RedisError

from eventlog.lease import clock_s
from eventlog.outages import AMPECO, Known, Outages, Verdict, known_outages
from handlers.declaration import Backoff
from workers.drain.handler_watch import HandlerWatch

_MOST_WAITING = 1_000  # reports
_BATCH = 20  # failures in one report
_ANSWER_S = 2.0

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
        hold: called with the name of each handler that is held from now on.

    Attributes:
        known: the last answer of the log.
        looked_s: when the log was last asked, in the clock of leases.
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
        """Return the watch for one handler's attempts."""
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
        """Note that a service answered, even with a refusal."""
        self._answered_s[service] = clock_s()
        if service in self._restless:
            self._in_loop(self._queue_answer, service)

    def failed(self, service: str, handler: str, key: str, why: str, asked_s: float | None) -> None:
        """Note a failure, and report it at once."""
        self._in_loop(self._queue_failure, service, handler, key, why, asked_s)

    def is_away(self, service: str) -> bool:
        """Whether a service is away, as far as this process knows."""
        return service in self._away

    @property
    def counts_failures(self) -> bool:
        """Whether failures of any service are counted."""
        return bool(self._restless)

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
