"""Compares what changed at AMPECO in a gap with what arrived, and appends what is missing.

It takes one notification type at a time. It lists the resources that changed in the window, and finds in the log
which of them have an event. For each of the others it appends one. Such an event is marked `reconstructed`,
and its time is that of the resource. A second run appends nothing again: what was appended has arrived.

It knows nothing of gaps. It raises what the client raises.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple, Protocol

from ampeco.budget import AsyncBudget, TokenBucket
from ampeco.errors import PayloadError
from ampeco.listing import PER_PAGE, Query, page
from ampeco.notifications import DEFAULT_RULES, EntityKeyRules, recognize
from ampeco.operations import Operation
from ampeco.rate_limits import RateLimit
from ampeco.reconstruction import SOURCES, Source, reconstructed
from eventlog.clock import now_ms
from eventlog.inspection.arrivals import TooManyArrivals, arrivals, reaches_back_to
from eventlog.inspection.gaps import Check
from eventlog.log import EventLog, NewEvent
from eventlog.record import RECONSTRUCTED, written_mark
from receiver.errors import NoRoom, NotComparable

MOST_PAGES = 200
CALLS_PER_S = 2.0
_APPEND_AT = 64
_SECOND_US = 1_000_000


class Api(Protocol):
    """The part of the client that reads a page of a listing."""

    async def call(self, method: Literal["GET"], path: str, *, query: Mapping[str, Any]) -> Any:
        """As `AsyncClient.call`."""


class Pace:
    """A budget of its own in front of the one that all callers share: a backfill leaves room for the others."""

    def __init__(self, *shared: AsyncBudget) -> None:
        self._all: tuple[AsyncBudget, ...] = (TokenBucket(CALLS_PER_S, burst=2), *shared)

    async def acquire(self, operation: Operation, /) -> None:
        """Wait for a turn, or raise `RateLimited`."""
        for each in self._all:
            await each.acquire(operation)

    def give_back(self, operation: Operation, /) -> None:
        """Called instead of a send that did not take place after its turn."""
        for each in self._all:
            each.give_back(operation)

    def slow_down(self, retry_after_s: float | None, /) -> None:
        """Called after each 429, with the pause that AMPECO asked for."""
        for each in self._all:
            each.slow_down(retry_after_s)

    def observe(self, seen: RateLimit, /) -> None:
        """Called after each answer with `X-RateLimit-*` headers."""
        for each in self._all:
            each.observe(seen)


class Window(NamedTuple):
    """The time in which to look for changes, in Unix ms."""

    since_ms: int
    until_ms: int

    @property
    def since(self) -> datetime:
        return datetime.fromtimestamp(self.since_ms / 1000, UTC)

    @property
    def until(self) -> datetime:
        return datetime.fromtimestamp(self.until_ms / 1000, UTC)


@dataclass(frozen=True)
class _Change:
    """A change of a resource, as a notification."""

    key: str
    body: bytes
    occurred_at: datetime | None


class Backfill:
    """Checks one type in one window at a time."""

    def __init__(
        self,
        log: EventLog,
        api: Callable[[], Api],
        wake: Callable[[Sequence[str]], None],
        *,
        rules: EntityKeyRules = DEFAULT_RULES,
    ) -> None:
        """
        Args:
            api: returns the client that is used now.
            wake: called with the queues to wake; must not block.
            rules: name the payload field with the entity key.
        """
        self._log = log
        self._api = api
        self._wake = wake
        self._rules = rules

    async def check(
        self,
        type: str,
        window: Window,
        *,
        between: Callable[[], Awaitable[None]],
        appended: Callable[[int], None] = lambda _: None,
    ) -> Check:
        """Compare what changed in a window with what arrived, and append what is missing.

        Args:
            between: awaited before each page; may raise to end it.
            appended: called after each append with the number of new events, so that a later failure loses none.

        Raises:
            NotComparable: nothing can be said of this type; with the reason.
            ApiError: AMPECO did not answer, or refused.
            NoRoom: the log is full.
            redis.RedisError, OSError: Redis did not answer.
        """
        source = SOURCES[type]
        if await reaches_back_to(self._log) > window.since_ms:
            raise NotComparable("the log no longer has all events of that time")
        try:
            arrived = await arrivals(self._log, type, window.since_ms)
        except TooManyArrivals:
            raise NotComparable("too many events of this type arrived to compare them") from None
        changed: set[str] = set()  # an entry that moves while the walk goes on is met twice
        seen = made = 0
        async for documents in self._pages(source, window, between):
            missing = []
            for document in documents:
                change = self._change(type, document, window)
                if change is None:
                    raise NotComparable("an entry of the listing names no entity")
                if _is_older(source.changed_at(document), window):
                    raise NotComparable("the listing shows what did not change in that time")
                if change.key in changed:
                    continue
                changed.add(change.key)
                if _is_among(arrived, change, source, document):
                    seen += 1
                else:
                    missing.append(change)
            made += await self._append(type, missing, appended)
        return Check(len(changed), seen, made)

    async def _pages(
        self, source: Source, window: Window, between: Callable[[], Awaitable[None]]
    ) -> AsyncIterator[list[Any]]:
        """Yield the entries of each page."""
        kept = {"per_page": str(PER_PAGE), **dict(source.window(window.since, window.until))}
        leading = {"cursor": ""} if source.listing.paging == "empty-cursor" else {}
        asked: set[Query] = set()
        for _ in range(MOST_PAGES):
            await between()
            document = await self._api().call("GET", source.listing.path, query={**kept, **leading})
            found = page(source.listing, document)
            yield found.items
            if found.following is None:
                return
            if found.following in asked:
                raise NotComparable("the listing leads back to an earlier page")
            asked.add(found.following)
            leading = dict(found.following)
        raise NotComparable(f"more than {MOST_PAGES * PER_PAGE:,} resources changed")

    def _change(self, type: str, document: Any, window: Window) -> _Change | None:
        body = reconstructed(type, document, window.since)
        if body is None:
            return None
        try:
            found = recognize(body, rules=self._rules, received_at=datetime.now(UTC))
        except PayloadError:
            return None
        return None if found.key is None else _Change(found.key, body, found.occurred_at)

    async def _append(self, type: str, missing: Sequence[_Change], appended: Callable[[int], None]) -> int:
        """Append events; return how many of them are new in the log."""
        made = 0
        for first in range(0, len(missing), _APPEND_AT):
            part = missing[first : first + _APPEND_AT]
            reply = await self._log.append([_event(type, each) for each in part])
            self._wake(reply.wake)
            accepted = sum(answer.outcome == "accepted" for answer in reply.answers)
            appended(accepted)
            made += accepted
            if any(answer.outcome == "refused" for answer in reply.answers):
                raise NoRoom
        return made


def _event(type: str, change: _Change) -> NewEvent:
    return NewEvent(
        type,
        change.key,
        change.body,
        now_ms(),
        "",
        duplicates="mark" if change.occurred_at is None else "drop",
        mark=written_mark(RECONSTRUCTED, change.occurred_at),
        nonce=hashlib.sha256(change.body).digest()[:12],
    )


def _is_older(changed_at: datetime | None, window: Window) -> bool:
    """Return whether an entry is outside of the filter, to the second: a tenant that ignores it lists everything."""
    return changed_at is not None and int(changed_at.timestamp()) < window.since_ms // 1000


def _is_among(
    arrived: Mapping[str, int], change: _Change, source: Source, document: Mapping[str, Any]
) -> bool:
    """Return whether an event of this entity arrived that is as new as the change, to the second."""
    at_us, changed_at = arrived.get(change.key), source.changed_at(document)
    if at_us is None:
        return False
    return source.happens_once or changed_at is None or at_us // _SECOND_US >= int(changed_at.timestamp())
