"""Services that handlers need, and what is known of their outages; for all workers of the log.

A service is AMPECO, or what authors name with `Unavailable`. It is away after some failures in a row, over several
entities and with no answer between them. Then each handler that fails on it is *held*: nothing of it starts until a
time. After that one event tries. This module knows no handler code and calls no service.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from eventlog.clock import redis_ms
from eventlog.log import EventLog
from eventlog.reading import readable
from eventlog.text import bounded

AMPECO = "ampeco"
OTHERS = "dependency:"  # begins the name of every other service
REST = OTHERS + "(other)"  # counts what has no name of its own, since there are too many names
OPEN_FULL = "open-full"  # why a pair is held that has too much open
_UNREADABLE = "unreadable "  # the same for a record that cannot be read, which is named then
_WHAT_CHARS = 200


def unreadable_words(what: str) -> str:
    """Return why a pair is held that stops at a record.

    Args:
        what: its id, and what is wrong with it.
    """
    return _UNREADABLE + bounded(what, _WHAT_CHARS)


def unreadable_record(why: str) -> str | None:
    """Return the record at which a pair stops; None when it is held for another reason."""
    return why.removeprefix(_UNREADABLE) if why.startswith(_UNREADABLE) else None


MOST_NAMES = 50  # that one handler uses in one process; `outage.lua` keeps as many services

_NAME_CHARS, _WHY_CHARS = 100, 40
_SERVICE_CHARS = len(OTHERS) + _NAME_CHARS


@dataclass(frozen=True)
class Rules:
    """When a service is away, and how long the pauses are.

    Attributes:
        failures, entities: so many failures in a row, over so many entities, make a service away.
        first_s, longest_s: the pause before the first trial; it doubles up to the longest.
        probe_s: how long a probe may take, after which the handlers try by themselves.
        catch_up_per_s: for each handler, deliveries per second of what waited, after the service came back.
    """

    failures: int = 5
    entities: int = 3
    first_s: float = 2.0
    longest_s: float = 300.0
    probe_s: float = 15.0
    catch_up_per_s: float = 50.0


@dataclass(frozen=True, slots=True)
class Outage:
    """What is known of one service.

    Attributes:
        failures: in a row, since it answered last.
        first_ms: when the first of them was.
        away_ms: since when it is away; None when it is not.
        since_ms: when the first failure of this outage was.
        why: how it failed last: an HTTP status, `no-answer`, `not-sent`, or `unavailable`.
        next_ms: when it is probed next; None when no probe ends the outage.
        handlers: those that failed on it, ever.
        past: earlier times in which it was away, from and to.
    """

    service: str
    failures: int
    first_ms: int
    away_ms: int | None
    since_ms: int
    why: str
    next_ms: int | None
    handlers: frozenset[str]
    past: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Hold:
    """A handler, or one of its lanes, that starts nothing before a given time.

    Attributes:
        lane: None for all lanes.
        until_ms: when it goes on, or one event tries.
        why: `open-full`, or how the service failed last.
        service: which one is away; empty where a pair waits for other reasons.
    """

    handler: str
    lane: int | None
    until_ms: int
    since_ms: int
    why: str
    service: str


class Away(NamedTuple):
    """Why a handler is held, for people.

    Attributes:
        service: what is away.
        why: how it failed last.
        since_ms: since when.
        next_ms: when it is probed next, or one event tries.
        is_probed: whether a probe comes next.
    """

    service: str
    why: str
    since_ms: int
    next_ms: int
    is_probed: bool


class Known(NamedTuple):
    """All outages and holds at one moment, by the clock of Redis."""

    at_ms: int
    outages: Mapping[str, Outage]
    holds: Sequence[Hold]

    @property
    def away(self) -> dict[str, Away]:
        """Return by handler why it is held; a lane that is held for itself is not among them."""
        found = {}
        for hold in self.holds:
            if hold.lane is None:
                outage = self.outages.get(hold.service)
                if outage is not None and outage.away_ms is not None and outage.next_ms is not None:
                    found[hold.handler] = Away(
                        hold.service, outage.why, outage.since_ms, outage.next_ms, is_probed=True
                    )
                else:
                    found[hold.handler] = Away(
                        hold.service, hold.why, hold.since_ms, hold.until_ms, is_probed=False
                    )
        return found

    @property
    def stopped(self) -> dict[tuple[str, int], str]:
        """Return by handler and lane the record that cannot be read, at which it stops."""
        return {
            (hold.handler, hold.lane): record
            for hold in self.holds
            if hold.lane is not None and (record := unreadable_record(hold.why)) is not None
        }

    def lanes_held(self, handler: str) -> int:
        """Return how many lanes of a handler are held since they have too much open."""
        return sum(
            hold.handler == handler and hold.why == OPEN_FULL and hold.until_ms > self.at_ms
            for hold in self.holds
        )

    def lanes_stopped(self, handler: str) -> int:
        """Return how many lanes of a handler stop at what cannot be read."""
        return sum(name == handler for name, _ in self.stopped)


class Verdict(NamedTuple):
    """What a report leads to.

    Attributes:
        is_away: whether the service is away.
        held_ms: until when the handler is held, by the clock of Redis; 0 when it is not.
        at_ms: now, by that clock.
    """

    is_away: bool
    held_ms: int
    at_ms: int


@dataclass(frozen=True)
class Outages:
    """Reports to the log how services do.

    Args:
        rules: must be the same in all workers.
    """

    log: EventLog
    rules: Rules = field(default_factory=Rules)

    async def failed(
        self, service: str, handler: str, why: str, entities: Sequence[str], *, asked_s: float | None = None
    ) -> Verdict:
        """Report failures of one handler in a row.

        Args:
            entities: a short hash of the entity of each failure.
            asked_s: the pause that the service asked for.
        """
        rules = self.rules
        asked: list[Any] = [handler, bounded(why, _WHY_CHARS), rules.failures, rules.entities]
        asked += ["1" if service == AMPECO else "", _ms(asked_s or 0.0), *entities]
        return await self._say(service, "failed", asked)

    async def answered(self, service: str, ago_s: float, *, tried: str = "") -> Verdict:
        """Report that a service answered a call.

        Args:
            tried: the handler whose trial this was; it is held no more.
        """
        return await self._say(service, "answered", [_ms(ago_s), tried])

    async def probed(self, service: str, why: str | None, *, asked_s: float | None = None) -> Verdict:
        """Report the result of a probe of a service.

        Args:
            why: how it failed; None when it answered.
        """
        return await self._say(
            service,
            "probed",
            ["1" if why is None else "", bounded(why or "", _WHY_CHARS), _ms(asked_s or 0.0)],
        )

    async def _say(self, service: str, verb: str, arguments: Sequence[Any]) -> Verdict:
        log, rules = self.log, self.rules
        pauses = (_ms(rules.first_s), _ms(rules.longest_s), _ms(rules.probe_s))
        asked = [log.prefix, log.lanes, bounded(service, _SERVICE_CHARS), verb, *pauses, *arguments]
        away, held, at = await log.scripts.outage(args=asked)
        return Verdict(int(away) > 0, int(held), int(at))


def service_of(dependency: str) -> str:
    """Return the service that an author's name stands for. Cuts a long name, so that log and process use the same."""
    return OTHERS + bounded(dependency, _NAME_CHARS)


async def known_outages(log: EventLog) -> Known:
    """Return all outages and holds."""
    async with log.redis.pipeline(transaction=False) as asked:
        asked.time()
        asked.hgetall(log.key("away"))
        asked.hgetall(log.key("held"))
        at, away, held = await asked.execute()
    outages = {
        outage.service: outage for item in away.items() if (outage := readable(_outage, *item)) is not None
    }
    holds = [hold for item in held.items() if (hold := readable(_hold, *item)) is not None]
    return Known(redis_ms(at), outages, holds)


def _outage(name: bytes, raw: bytes) -> Outage:
    record = json.loads(raw)
    return Outage(
        service=name.decode(),
        failures=int(record["n"]),
        first_ms=int(record["first"]),
        away_ms=_whole(record.get("away")),
        since_ms=int(record.get("since") or record["first"]),
        why=record.get("why") or "",
        next_ms=_whole(record.get("next")),
        handlers=frozenset(record["handlers"]),  # Lua writes an empty list as an empty object
        past=tuple((int(begin), int(end)) for begin, end in record["past"]),
    )


def _hold(name: bytes, raw: bytes) -> Hold | None:
    until, _, words = raw.decode().partition(" ")
    record = json.loads(words)
    if "back" in record:
        return None  # it was held
    handler, _, lane = name.decode().partition("|")
    return Hold(
        handler,
        int(lane) if lane else None,
        int(until),
        int(record["since"]),
        record["why"],
        record.get("service", ""),
    )


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
