"""A tenant, or a proxy in front of it, whose answers fit no request: each ends in a named state.

Bytes that are no HTTP, endless and dripping answers are in `tests/unit/ampeco/test_client_limits.py`.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from typing import Any

import httpx2
import pytest
from structlog.testing import capture_logs

from ampeco.client import AsyncClient, RetryPolicy
from ampeco.errors import ApiError
from ampeco.reconstruction import SOURCES
from ampeco.wire import MOST_VALUES
from eventlog.clock import now_ms
from eventlog.inspection.events import list_events
from eventlog.log import EventLog
from eventlog.operation.dead_letters import DeadFilter, newest
from eventlog.subscription import SubscriptionStore
from handlers import Context, Event, Raw, handler
from receiver.backfill import Backfill, Window
from receiver.errors import NotComparable
from receiver.metrics import Metrics
from receiver.notification_api import NotificationApi
from receiver.reconciler import Reconciler
from receiver.registrar import Registrar
from receiver.registration_check import Access
from tests.harness import VERSION, declaration, event, position
from workers.delivery.attempt import Runtime
from workers.drain.dispatcher import Dispatcher

TOKEN = "tok-0123456789abcdef"
HOOK = "https://us.example/webhooks/ampeco"
CONTROLS = "\x1b[2J\x07\r\n\u202e"
Answer = Callable[[], httpx2.Response]


def said(document: Any, status: int = 200, **headers: str) -> Answer:
    text = document if isinstance(document, str) else json.dumps(document)
    return lambda: httpx2.Response(status, content=text.encode(), headers=headers)


def moved(status: int, place: str) -> Answer:
    return said("", status, Location=place)


def refusal(text: str, **more: Any) -> dict[str, Any]:
    return {"message": text, **more}


ANSWERS: dict[str, Answer] = {
    "a page of a proxy": said("<html>Please log in</html>", **{"Content-Type": "text/html"}),
    "a deep document": said("[" * 200_000),
    "millions of values": said("[" + "[]," * MOST_VALUES + "1]"),
    "NaN": said('{"data": NaN}'),
    "half a character": said('{"data": "\\ud800"}'),
    "an error with 200": said(refusal(CONTROLS, errors={CONTROLS: [CONTROLS]})),
    "a message with 200": said(refusal(f"{CONTROLS} {TOKEN}")),
    "a gzip bomb": lambda: httpx2.Response(
        200, stream=Chunks(gzip.compress(bytes(64 << 20))), headers={"Content-Encoding": "gzip"}
    ),
    "a redirect to itself": moved(307, "/public-api/notifications/v2.0"),
    "a redirect to another host": moved(308, "https://evil.example/?x=1"),
    "a pause of a year": said(refusal(CONTROLS), 429, **{"Retry-After": "31536000"}),
    "a pause that is negative": said(refusal("x"), 429, **{"Retry-After": "-5"}),
    "a pause that is no number": said(refusal("x"), 429, **{"Retry-After": "\x1b[2Jsoon"}),
    "a pause until a date": said(
        refusal("x"), 429, **{"Retry-After": "Fri, 31 Dec 9999 23:59:59 GMT", "X-RateLimit-Limit": "9" * 99}
    ),
    "an error that echoes the token": said(refusal(f"no such token: {TOKEN}"), 500),
    "many fields": said(refusal("x", errors={f"f{n}{CONTROLS}": [CONTROLS] for n in range(50_000)}), 422),
    "a status of its own": said("", 999),
}
DONE = {"a message with 200"}
"""Of an action: any 2xx that states no error says that it was carried out."""
REFUSED = {
    "a pause of a year",
    "a pause that is negative",
    "a pause that is no number",
    "a pause until a date",
    "many fields",
}
"""Of an action: nothing happened."""
PAGES: dict[str, Answer] = {
    "entries without ids": said({"data": [{"id": None}, {"id": 1.5}, {"id": {}}, [], None, "x"]}),
    "a list that leads back": said({"data": [], "links": {"next": "?cursor=1"}}),
    "a next page without a query": said({"data": [], "links": {"next": "https://evil.example/2"}}),
    "a next page with a long address": said({"data": [], "meta": {"next_cursor": "x" * 100_000}}),
    "a page that is too long": said({"data": [{"id": 1}] * 20_000}),
}


class Chunks(httpx2.SyncByteStream, httpx2.AsyncByteStream):
    """A body that no transport has read yet."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def __iter__(self) -> Any:
        yield self._body

    async def __aiter__(self) -> Any:
        yield self._body


class Hostile:
    """A tenant with one answer. It notes where requests went."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self.hosts: set[str] = set()
        self.requests = 0
        transport = httpx2.MockTransport(self._respond)
        self.client = AsyncClient(
            "https://tenant.example", TOKEN, retry=RetryPolicy(attempts=1), transport=transport
        )

    def _respond(self, request: httpx2.Request) -> httpx2.Response:
        self.hosts.add(request.url.host)
        self.requests += 1
        return self._answer()


def is_clean(text: str) -> bool:
    return text.isprintable() and TOKEN not in text


@pytest.mark.parametrize("name", [*ANSWERS, *PAGES])
def test_the_registration_fails_with_a_reason_and_is_tried_again(with_log: Any, name: str) -> None:
    async def check(log: EventLog) -> None:
        tenant, store = Hostile((ANSWERS | PAGES)[name]), SubscriptionStore(log)

        async def wants() -> dict[str, frozenset[str]]:
            return {"h": frozenset({"BootNotification"})}

        access = Access(NotificationApi({"key": tenant.client}), "key")
        reconciler = Reconciler(access, store, HOOK, wants=wants, accepted_key_ids=lambda: ["key"])
        registrar = Registrar(
            reconciler, store, metrics=Metrics(), accepted_key_ids=lambda: ["key"], is_open=lambda: True
        )
        with capture_logs() as lines:
            await registrar.check()
        await tenant.client.aclose()
        (line,) = [one for one in lines if one["event"] == "notification_subscription.failed"]
        assert registrar.state.startswith("failed:")
        assert registrar.state != "failed:unexpected", registrar.detail
        assert 0 < line["retry_s"] <= 300
        assert is_clean(registrar.detail)
        assert all(map(is_clean, line["fields"] or ()))
        assert tenant.hosts == {"tenant.example"}
        assert tenant.requests <= 6

    with_log(check)


@pytest.mark.parametrize("name", [*ANSWERS, *PAGES])
def test_a_backfill_proves_nothing_and_makes_no_event(with_log: Any, name: str) -> None:
    async def check(log: EventLog) -> None:
        tenant = Hostile((ANSWERS | PAGES)[name])

        async def between() -> None:
            assert tenant.requests < 5

        for type_ in SOURCES:
            tenant.requests = 0
            backfill = Backfill(log, lambda: tenant.client, lambda queues: None)
            with pytest.raises((ApiError, NotComparable)) as caught:
                await backfill.check(type_, Window(now_ms() - 60_000, now_ms()), between=between)
            assert is_clean(str(caught.value))
        await tenant.client.aclose()
        assert await list_events(log) == []
        assert tenant.hosts == {"tenant.example"}

    with_log(check)


@handler("pays", on=["SessionUpdateNotification"], calls=["user.add-balance"], start="oldest")
async def pays(event: Event[Raw], ctx: Context) -> None:
    """An action that must not be carried out twice."""
    await ctx.ampeco.actions.user.add_balance(7, amount=1, reason="x")


@pytest.mark.parametrize("name", ANSWERS)
def test_an_action_is_called_once_and_its_event_is_not_lost(with_log: Any, name: str) -> None:
    async def check(log: EventLog) -> None:
        tenant = Hostile(ANSWERS[name])
        await log.declare([declaration(pays)])
        await log.append([event()])
        runtime = Runtime(pays, VERSION, client=tenant.client)
        dispatcher = Dispatcher(log, "default", {pays.name: runtime})
        with capture_logs() as lines:
            while await dispatcher.work():
                pass
            await dispatcher.stop()
        await tenant.client.aclose()
        found = await position(log, pays.name)
        letters = [each.letter for each in await newest(log, DeadFilter(), limit=9)]
        outcome = (found.stats.get("done", 0), found.open, [letter.reason for letter in letters])
        assert tenant.requests == 1
        assert outcome == (
            (1, 0, []) if name in DONE else (0, 1, []) if name in REFUSED else (0, 0, ["step-uncertain"])
        )
        opened = [await log.redis.hvals(log.key("open", pays.name, lane)) for lane in range(log.lanes)]
        assert TOKEN not in repr((lines, letters, opened))

    with_log(check)
