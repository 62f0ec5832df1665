"""Backfill against a real log: what changed and did not arrive is appended once, and marked."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ampeco.errors import ServerFault
from ampeco.operations import Operation
from ampeco.rate_limits import RateLimit
from ampeco.reconstruction import SOURCES
from ampeco.simulator.fleet.charging import moment
from eventlog.clock import now_ms
from eventlog.inspection.events import list_events
from eventlog.inspection.gaps import Check
from eventlog.log import EventLog, NewEvent
from eventlog.record import written_mark
from handlers import Context, Event, Raw, handler
from receiver.backfill import MOST_PAGES, Backfill, Pace, Window
from receiver.errors import NoRoom, NotComparable
from tests.harness import declaration, drained

SESSION, CDR, USER = "SessionUpdateNotification", "cdr.received", "UserChangedNotification"


def ago(seconds: float) -> datetime:
    return datetime.now(UTC) - timedelta(seconds=seconds)


def session(id: int, at: datetime) -> dict[str, Any]:
    return {"id": str(id), "status": "active", "lastUpdatedAt": moment(at)}


def arrived(id: int, at: datetime) -> NewEvent:
    body = json.dumps({"notification": SESSION, "session": session(id, at)}).encode()
    return NewEvent(SESSION, f"session:{id}", body, now_ms(), "k", "drop", written_mark("", at))


class Api:
    """A listing, in pages, and the queries that were made."""

    def __init__(self, *pages: list[Any], fails_at: int = -1) -> None:
        self.pages = pages
        self.fails_at = fails_at
        self.asked: list[tuple[str, dict[str, Any]]] = []

    async def call(self, method: str, path: str, *, query: Mapping[str, Any]) -> Any:
        number = len(self.asked)
        self.asked.append((path, dict(query)))
        if number == self.fails_at:
            raise ServerFault("resources.sessions.list", 502, "Bad Gateway")
        more = number + 1 < len(self.pages)
        following = f"https://t.example{path}?cursor={number + 1}" if more else None
        return {"data": self.pages[number], "links": {"next": following}}


async def nothing() -> None:
    """Between two pages."""


async def check(
    log: EventLog,
    api: Api,
    type: str = SESSION,
    between: Callable[[], Any] = nothing,
    appended: Callable[[int], None] = lambda number: None,
) -> Check:
    window = Window(now_ms() - 600_000, now_ms())
    backfill = Backfill(log, lambda: api, lambda queues: None)
    return await backfill.check(type, window, between=between, appended=appended)


def test_what_did_not_arrive_is_appended_once_and_what_arrived_is_not(on_each_server) -> None:
    async def scenario(log: EventLog) -> None:
        times = [ago(60 * n) for n in range(1, 4)]
        await log.append([arrived(1, times[0])])
        api = Api([session(number, at) for number, at in enumerate(times, 1)])
        assert await check(log, api) == Check(3, 1, 2)
        assert await check(log, Api(*api.pages)) == Check(3, 3, 0)
        made = [found for found in await list_events(log) if "reconstructed" in found.marks]
        assert sorted(found.key or "" for found in made) == ["session:2", "session:3"]
        assert {found.occurred_at for found in made} == {at.replace(microsecond=0) for at in times[1:]}
        assert {found.key_id for found in made} == {""}

    on_each_server(scenario)


def test_a_handler_sees_that_an_event_was_reconstructed(on_each_server) -> None:
    seen: list[tuple[bool, str]] = []

    @handler("h", on=[SESSION], start="oldest")
    async def h(event: Event[Raw], ctx: Context) -> None:
        seen.append((event.reconstructed, event.payload.data["session"]["id"]))

    async def scenario(log: EventLog) -> None:
        seen.clear()
        await log.declare([declaration(h)])
        await log.append([arrived(1, ago(30))])
        await check(log, Api([session(2, ago(30))]))
        await drained(log, h)
        assert sorted(seen) == [(False, "1"), (True, "2")]

    on_each_server(scenario)


def test_an_event_older_than_the_change_is_not_the_one(on_each_server) -> None:
    """Of a session that changed twice, only the first change arrived."""

    async def scenario(log: EventLog) -> None:
        await log.append([arrived(1, ago(120)), arrived(2, ago(20))])
        assert await check(log, Api([session(1, ago(60)), session(2, ago(60))])) == Check(2, 1, 1)

    on_each_server(scenario)


def test_it_walks_through_all_pages_with_the_filters_of_the_window(on_each_server) -> None:
    async def scenario(log: EventLog) -> None:
        pauses: list[int] = []

        async def between() -> None:
            pauses.append(len(api.asked))

        at = ago(60)
        api = Api([session(1, at), session(2, at)], [session(2, at)], [session(3, at)])
        assert await check(log, api, between=between) == Check(3, 0, 3), "one that moved is met twice"
        assert pauses == [0, 1, 2]
        assert {path for path, _ in api.asked} == {"/public-api/resources/sessions/v1.0"}
        first, second, _ = (query for _, query in api.asked)
        assert {*first} >= {"filter[lastUpdatedAfter]", "filter[lastUpdatedBefore]", "per_page"}
        assert second["cursor"] == "1"
        assert second["filter[lastUpdatedAfter]"] == first["filter[lastUpdatedAfter]"]

    on_each_server(scenario)


def test_a_cdr_arrived_whenever_its_event_came(on_each_server) -> None:
    async def scenario(log: EventLog) -> None:
        body = json.dumps({"notification": CDR, "id": "NL-1", "createdAt": moment(ago(300))}).encode()
        await log.append([NewEvent(CDR, "cdr:NL-1", body, now_ms(), "k", "drop", written_mark("", ago(300)))])
        listed = [{"id": n, "roamingId": f"NL-{n}", "receivedAt": moment(ago(60))} for n in (1, 2)]
        api = Api(listed)
        assert await check(log, api, CDR) == Check(2, 1, 1)
        assert "filter[receivedAfter]" in api.asked[0][1]
        (made,) = [found for found in await list_events(log, type=CDR) if "reconstructed" in found.marks]
        assert json.loads(made.body)["id"] == "NL-2"

    on_each_server(scenario)


def test_an_answer_that_is_lost_midway_leaves_what_was_appended_and_the_next_try_ends_it(
    on_each_server,
) -> None:
    async def scenario(log: EventLog) -> None:
        at, appended = ago(60), list[int]()
        with pytest.raises(ServerFault):
            await check(log, Api([session(1, at)], [session(2, at)], fails_at=1), appended=appended.append)
        assert appended == [1], "it is in the log, so it counts"
        assert await check(log, Api([session(1, at)], [session(2, at)])) == Check(2, 1, 1)
        assert len(await list_events(log)) == 2

    on_each_server(scenario)


def test_a_log_that_lost_events_of_the_window_proves_nothing(on_each_server) -> None:
    async def scenario(log: EventLog) -> None:
        await log.redis.hset(log.key("tenant"), "trimmed", now_ms() - 60_000)
        with pytest.raises(NotComparable, match="no longer has all events"):
            await check(log, Api([]))

    on_each_server(scenario)


def test_a_list_that_does_not_end_and_entries_without_identity_prove_nothing(on_each_server) -> None:
    async def scenario(log: EventLog) -> None:
        with pytest.raises(NotComparable, match="20,000 resources"):
            await check(log, Api(*[[session(n + 1, ago(60))] for n in range(MOST_PAGES + 1)]))
        for odd in ({"id": None}, [], None, "\ud800", {"id": "\ud800"}):
            with pytest.raises(NotComparable, match="names no entity"):
                await check(log, Api([odd]))

    on_each_server(scenario)


def test_a_listing_that_leads_back_to_a_page_ends_at_once_and_keeps_what_it_showed(on_each_server) -> None:
    class Circle(Api):
        async def call(self, method: str, path: str, *, query: Mapping[str, Any]) -> Any:
            document = await super().call(method, path, query=query)
            return {**document, "links": {"next": f"{path}?cursor={'ab'[len(self.asked) % 2]}"}}

    async def scenario(log: EventLog) -> None:
        api = Circle(*[[session(n + 1, ago(60))] for n in range(9)])
        with pytest.raises(NotComparable, match="leads back to an earlier page"):
            await check(log, api)
        assert len(api.asked) == len(await list_events(log)) == 3

    on_each_server(scenario)


def test_a_listing_that_ignores_the_filter_makes_no_events_of_what_did_not_change(on_each_server) -> None:
    async def scenario(log: EventLog) -> None:
        with pytest.raises(NotComparable, match="did not change in that time"):
            await check(log, Api([session(1, ago(60)), session(2, ago(700))]))
        assert await list_events(log) == []

    on_each_server(scenario)


def test_too_many_arrivals_are_not_compared(on_each_server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eventlog.inspection.arrivals.MOST_ENTITIES", 3)

    async def scenario(log: EventLog) -> None:
        await log.append([arrived(number, ago(60)) for number in range(1, 5)])
        with pytest.raises(NotComparable, match="too many events"):
            await check(log, Api([]))

    on_each_server(scenario)


def test_the_pace_of_a_backfill_asks_the_shared_budget_and_tells_it_what_answers_say() -> None:
    class Shared:
        def __init__(self) -> None:
            self.said: list[object] = []

        async def acquire(self, operation: Operation, /) -> None:
            self.said.append(operation.name)

        def give_back(self, operation: Operation, /) -> None:
            self.said.append("back")

        def slow_down(self, retry_after_s: float | None, /) -> None:
            self.said.append(retry_after_s)

        def observe(self, seen: RateLimit, /) -> None:
            self.said.append(seen)

    async def scenario() -> None:
        shared, limit = Shared(), RateLimit(100, 99, None)
        pace = Pace(shared)
        began_s = time.monotonic()
        for _ in range(4):
            await pace.acquire(SOURCES[SESSION].listing)
        assert time.monotonic() - began_s >= 0.9, "two a second"
        pace.observe(limit)
        pace.slow_down(3.0)
        pace.give_back(SOURCES[SESSION].listing)
        assert shared.said == [*["resources.sessions.list"] * 4, limit, 3.0, "back"]

    asyncio.run(scenario())


def test_a_full_log_takes_nothing_and_the_check_says_so(on_each_server) -> None:
    async def scenario(log: EventLog) -> None:
        await log.redis.set(log.key("full"), "1")
        with pytest.raises(NoRoom):
            await check(log, Api([session(1, ago(60))]))

    on_each_server(scenario)
