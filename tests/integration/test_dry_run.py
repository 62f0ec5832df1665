"""A dry run does nothing that it can stop, and gives a handler what is recorded."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest
from pydantic import BaseModel

from ampeco.client import AsyncClient, Client
from ampeco.repeating import RetryPolicy
from eventlog.log import EventLog
from eventlog.record import StoredEvent
from eventlog.step_ledger import recorded
from handlers import Context, Event, Handler, Raw, SyncContext, handler
from tests.harness import VERSION, declaration, drained, event, opened
from workers.delivery.attempt import Runtime
from workers.delivery.manual_run import Trial, try_out

EVENT = StoredEvent(0, "1-0", "t", "session:1", b'{"notification": "t"}', 0)
PAY = "POST /public-api/actions/pay/v1.0"
ONCE = RetryPolicy(attempts=1)


class Receipt(BaseModel):
    number: str


class Tenant:
    def __init__(self) -> None:
        self.sent: list[str] = []

    def answer(self, request: httpx2.Request) -> httpx2.Response:
        self.sent.append(request.method)
        return httpx2.Response(200, json={"data": {"id": 1}})


def tried(handler: Handler, tenant: Tenant, stored: StoredEvent = EVENT, **options: Any) -> Trial:
    async def run() -> Trial:
        transport = httpx2.MockTransport(tenant.answer)
        where = ("https://tenant.example", "token")
        async with AsyncClient(*where, transport=transport, retry=ONCE) as client:
            with Client(*where, transport=transport, retry=ONCE) as plain, ThreadPoolExecutor(1) as threads:
                runtime = Runtime(handler, VERSION, client=client, sync_client=plain, threads=threads)
                return await try_out(runtime, stored, **options)

    return asyncio.run(run())


def test_the_context_says_that_a_run_is_dry():
    said: list[bool] = []

    @handler("h", on=["*"])
    async def h(event: Event[Raw], ctx: Context) -> None:
        said.append(ctx.dry_run)

    assert tried(h, Tenant()).outcome.kind == "done"
    assert tried(h, Tenant(), for_real=True).outcome.kind == "done"
    assert said == [True, False]


def test_actions_are_noted_and_reads_are_made():
    tenant = Tenant()

    @handler("h", on=["*"], calls=[PAY, "charge-point.reset"])
    async def h(event: Event[Raw], ctx: Context) -> None:
        await ctx.ampeco.call("GET", "/public-api/resources/sessions/v1.0/1")
        await ctx.ampeco.call("POST", "/public-api/actions/pay/v1.0", body={"sum": 1})
        await ctx.ampeco.actions.charge_point.reset("12", "soft")
        raise AssertionError

    trial = tried(h, tenant)
    assert tenant.sent == ["GET"]
    assert [action.path for action in trial.actions] == [
        "/public-api/actions/pay/v1.0",
        "/public-api/actions/charge-point/v1.0/12/reset/soft",
    ]
    assert trial.actions[0].body == b'{"sum":1}'
    assert (trial.outcome.kind, trial.outcome.detail) == ("ended", "would do: charge-point.reset")


def test_a_step_without_a_result_ends_the_run_and_an_own_except_does_not_swallow_that():
    @handler("h", on=["*"])
    async def h(event: Event[Raw], ctx: Context) -> None:
        try:
            await ctx.once("mail", lambda: 1)
        except Exception:
            raise AssertionError from None

    trial = tried(h, Tenant())
    assert (trial.outcome.kind, trial.outcome.detail) == ("ended", "would do: mail")
    assert trial.steps == ("mail",)


@pytest.mark.parametrize("is_async", [True, False], ids=["async", "def"])
def test_dry_says_how_a_run_goes_on_where_nothing_is_recorded(is_async):
    got: list[object] = []

    async def in_loop(event: Event[Raw], ctx: Context) -> None:
        got.append(await ctx.once("mail", lambda: 1, dry=7))
        got.append(await ctx.once("none", lambda: None, dry=None))
        assert not ctx.remembered("mail")

    def in_thread(event: Event[Raw], ctx: SyncContext) -> None:
        got.append(ctx.once("mail", lambda: 1, dry=7))
        got.append(ctx.once("none", lambda: None, dry=None))

    trial = tried(handler("h", on=["*"])(in_loop if is_async else in_thread), Tenant())
    assert (got, trial.steps, trial.outcome.kind) == ([7, None], ("mail", "none"), "done")


def test_for_real_dry_is_ignored_and_the_step_is_called():
    got: list[int] = []

    @handler("h", on=["*"])
    async def h(event: Event[Raw], ctx: Context) -> None:
        got.append(await ctx.once("mail", lambda: 1, dry=7))

    assert tried(h, Tenant(), for_real=True).steps == ()
    assert got == [1]


def test_what_is_recorded_is_given_and_what_is_uncertain_ends_as_it_would(valkey, prefix):
    got: list[object] = []

    @handler("h", on=["*"], start="oldest")
    async def h(event: Event[Raw], ctx: Context) -> None:
        got.append(await ctx.once("receipt", lambda: Receipt(number="R-1"), returns=Receipt))
        got.append(await ctx.once("entity", lambda: [1], per="entity"))
        await ctx.once("odd", fails)

    def fails() -> None:
        raise ValueError

    async def fill() -> StoredEvent:
        async with opened(valkey.url, prefix, lanes=1) as log:
            await log.declare([declaration(h)])
            await log.append([event("t", "session:1")])
            await drained(log, h)
            [(stream_id, fields)] = await log.redis.xrange(log.key("events", 0))
            return StoredEvent(0, stream_id.decode(), "t", "session:1", fields[b"b"], 0)

    async def dry(stored: StoredEvent) -> Trial:
        async with opened(valkey.url, prefix, lanes=1) as log:
            before = await _all(log)
            runtime = Runtime(h, VERSION)
            trial = await try_out(runtime, stored, lookup=lambda scope, step: recorded(log, "h", scope, step))
            assert await _all(log) == before
            return trial

    stored = asyncio.run(fill())
    real, got[:] = list(got), []
    trial = asyncio.run(dry(stored))
    assert got == real == [Receipt(number="R-1"), [1]]
    assert (trial.outcome.kind, trial.outcome.reason) == ("dead", "step-uncertain")
    assert trial.steps == ()


async def _all(log: EventLog) -> list[Any]:
    return [
        (key, await log.redis.hgetall(key), await log.redis.pttl(key) > 0)
        async for key in log.redis.scan_iter(log.key("ledger", "*"))
    ]
