"""Events know whose echo they are, and handlers that answer each other's echoes are stopped."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any

import httpx2
import pytest
from redis.exceptions import ConnectionError as ConnectionLost

from ampeco.client import AsyncClient, Client, RetryPolicy
from ampeco.notifications import HardwareStatus
from ampeco.operations import OPERATIONS
from ampeco.wire import build
from eventlog.clock import now_ms
from eventlog.log import EventLog, NewEvent
from eventlog.operation.hurry import hurry
from eventlog.recent_calls import ECHO_MS, KEPT, LOOP_MS, RecentCall, forget, read_calls, remember
from eventlog.record import OpenRecord, StoredEvent, decode_event, decode_open, encode_open
from handlers import Context, Event, Raw, Retry, Skip, SyncContext, handler
from handlers.declaration import Handler
from handlers.event import Echo
from handlers.outcomes import LoopGuarded
from tests.harness import VERSION, declaration, eventually, position
from workers.delivery.attempt import Runtime
from workers.delivery.loop_guard import LoopGuard
from workers.delivery.outcomes import outcome_of
from workers.drain.dispatcher import Dispatcher
from workers.once.step import DeliveryRevoked

CHANGE = "charge-point.change-availability"
ACT = RecentCall(0, "x.y", "h", "0-1-0")
Calls = list[tuple[int, str]]


def status(word: str, charge_point: int = 1, evse: int = 1) -> NewEvent:
    """A charge point reports a status; no two bodies are equal."""
    status.count += 1  # type: ignore[attr-defined]
    body = {
        "notification": "HardwareStatusNotification",
        "chargePointId": charge_point,
        "evseId": evse,
        "timestamp": "2026-11-29T08:00:00Z",
        "hardwareStatus": word,
        "info": str(status.count),  # type: ignore[attr-defined]
    }
    key = f"charge-point:{charge_point}"
    return NewEvent(body["notification"], key, json.dumps(body).encode(), now_ms(), "00000000", "mark")  # type: ignore[arg-type]


status.count = 0  # type: ignore[attr-defined]


class Tenant:
    """Carries out changes of availability: the charge point reports them a moment later."""

    def __init__(self, log: EventLog, *, answer: int = 202) -> None:
        self.calls: Calls = []
        self.answer = answer
        self._log = log
        self._loop = asyncio.get_running_loop()
        transport = httpx2.MockTransport(self._answered)
        self.client = AsyncClient(
            "https://t.example", "token", retry=RetryPolicy(attempts=1), transport=transport
        )
        self.sync_client = Client(
            "https://t.example", "token", retry=RetryPolicy(attempts=1), transport=transport
        )

    def _answered(self, request: httpx2.Request) -> httpx2.Response:
        charge_point, word = int(request.url.path.split("/")[5]), json.loads(request.content)["type"]
        self.calls.append((charge_point, word))
        if self.answer == 202:
            shown = status("unavailable" if word == "Inoperative" else "available", charge_point)
            asyncio.run_coroutine_threadsafe(self._log.append([shown]), self._loop)
        return httpx2.Response(self.answer, headers={"Retry-After": "1"} if self.answer == 503 else {})


@contextlib.asynccontextmanager
async def working(log: EventLog, tenant: Tenant, *handlers: Handler, depth: int = 5) -> AsyncIterator[None]:
    """Run handlers in this process inside the block."""
    await log.declare([declaration(each) for each in handlers])
    runtimes = {
        h.name: Runtime(h, VERSION, client=tenant.client, sync_client=tenant.sync_client) for h in handlers
    }
    dispatcher = Dispatcher(log, "default", runtimes, loop_depth=depth)

    async def work() -> None:
        while not dispatcher.stopping:
            await dispatcher.work()

    task = asyncio.create_task(work())
    try:
        yield
    finally:
        await dispatcher.stop()
        await task


@handler("off", calls=[CHANGE])
async def off(event: Event[HardwareStatus], ctx: Context) -> None:
    if event.payload.hardware_status != "available":
        raise Skip("not available")
    await ctx.ampeco.actions.charge_point.change_availability(
        event.payload.charge_point_id, type="Inoperative"
    )


@handler("off-in-thread", calls=[CHANGE])
def off_in_thread(event: Event[HardwareStatus], ctx: SyncContext) -> None:
    ctx.ampeco.actions.charge_point.change_availability(event.payload.charge_point_id, type="Inoperative")


@handler("on", calls=[CHANGE])
async def on(event: Event[HardwareStatus], ctx: Context) -> None:
    if event.payload.hardware_status != "unavailable":
        raise Skip("not unavailable")
    await ctx.ampeco.actions.charge_point.change_availability(event.payload.charge_point_id, type="Operative")


@handler("on-in-thread", calls=[CHANGE])
def on_in_thread(event: Event[HardwareStatus], ctx: SyncContext) -> None:
    if event.payload.hardware_status != "unavailable":
        raise Skip("not unavailable")
    ctx.ampeco.actions.charge_point.change_availability(event.payload.charge_point_id, type="Operative")


def watching() -> tuple[Handler, list[tuple[str, str | None, Echo | None]]]:
    """A handler that only looks: status, entity and echo of each event."""
    seen: list[tuple[str, str | None, Echo | None]] = []

    @handler("watch", start="oldest")
    async def watch(event: Event[HardwareStatus], ctx: Context) -> None:
        seen.append((str(event.payload.hardware_status), event.key, event.echo_of))

    return watch, seen


async def _waiting(log: EventLog, name: str) -> list[OpenRecord]:
    found = []
    for lane in range(log.lanes):
        raw = await log.redis.hgetall(log.key("open", name, lane))
        found += [decode_open(lane, stream_id, data) for stream_id, data in raw.items()]
    return [record for record in found if record.state == "retry"]


async def _both_wait(log: EventLog, *names: str) -> bool:
    return len([record for name in names for record in await _waiting(log, name)]) == 2


def _guarded(log: EventLog, *names: str) -> Callable[[], Awaitable[bool]]:
    async def one_waits() -> bool:
        records = [record for name in names for record in await _waiting(log, name)]
        return any(record.last_error.startswith("loop-guard") for record in records)

    return one_waits


def test_an_event_that_shows_an_action_names_it(on_each_server):
    async def check(log: EventLog) -> None:
        watch, seen = watching()
        async with working(log, Tenant(log), off, watch):
            await log.append([status("faulted"), status("available")])
            await eventually(lambda: _long(seen, 3))
            (genuine,) = [each for each in await _events(log) if b'"available"' in each.body]
            await log.append([status("faulted"), status("unavailable", 2)])
            await eventually(lambda: _long(seen, 5))
        echoes = {(word, key): echo for word, key, echo in seen if echo is not None}
        assert list(echoes) == [("unavailable", "charge-point:1")]
        (echo,) = echoes.values()
        assert (echo.action, echo.handler, echo.event_id) == (CHANGE, "off", genuine.event_id)
        assert abs(echo.called_at.timestamp() * 1000 - now_ms()) < 60_000

    on_each_server(check)


@pytest.mark.parametrize("undoing", [on, on_in_thread], ids=["async", "thread"])
def test_two_handlers_that_undo_each_other_make_five_calls(on_each_server, undoing: Handler):
    async def check(log: EventLog) -> None:
        watch, seen = watching()
        tenant = Tenant(log)
        async with working(log, tenant, off, undoing, watch):
            await log.append([status("available", 7)])
            await eventually(_guarded(log, "off", undoing.name))
            assert tenant.calls == [(7, word) for word in ("Inoperative", "Operative") * 3][:5]
            # Everything else goes on: other charge points at both handlers, and this one at the third.
            await log.append([status("available", 8), status("faulted", 7)])
            await eventually(lambda: _long([call for call in tenant.calls if call[0] == 8], 5))
            await eventually(lambda: _both_wait(log, "off", undoing.name))
            await eventually(_holds(lambda: any(word == "faulted" for word, _, _ in seen)))
        assert len([call for call in tenant.calls if call[0] == 7]) == 5
        waits = [*await _waiting(log, "off"), *await _waiting(log, undoing.name)]
        assert {record.event.key for record in waits} == {"charge-point:7", "charge-point:8"}
        for record in waits:
            assert record.attempts == 0, "no attempt is spent"
            assert record.log[-1].outcome == "loop-guard"
            assert record.last_error.startswith(
                f"loop-guard: 5 actions on {record.event.key} within 10 minutes"
            )
            assert 0 < (record.due_ms or 0) - now_ms() <= LOOP_MS + 1_000
        stats = [(await position(log, name)).stats.get("loop-guard", 0) for name in ("off", undoing.name)]
        assert sum(stats) == 2

    on_each_server(check)


def test_an_operator_lifts_the_guard_with_events_hurry(on_each_server):
    async def check(log: EventLog) -> None:
        tenant = Tenant(log)
        async with working(log, tenant, off, on, depth=3):
            await log.append([status("available")])
            await eventually(_guarded(log, "off", "on"))
            assert len(tenant.calls) == 3
            (record,) = [*await _waiting(log, "off"), *await _waiting(log, "on")]
            name = "off" if await _waiting(log, "off") else "on"
            assert await hurry(log, name, record.event.lane, [record.event.stream_id]) == [True]
            await eventually(lambda: _long(tenant.calls, 6))
            await eventually(_guarded(log, "off", "on"))
        assert len(tenant.calls) == 6

    on_each_server(check)


def test_genuine_events_are_no_chain(on_each_server):
    async def check(log: EventLog) -> None:
        tenant = Tenant(log)
        async with working(log, tenant, off, depth=1):
            for _ in range(8):
                await log.append([status("available")])
            await eventually(lambda: _long(tenant.calls, 8))

    on_each_server(check)


@pytest.mark.parametrize("acting", [off, off_in_thread], ids=["async", "thread"])
@pytest.mark.parametrize("answer", [406, 503])
def test_an_action_that_did_nothing_leaves_no_trace(on_each_server, acting: Handler, answer: int):
    """With a pause to wait, 503 says so as well."""
    refused = replace(acting, name="off", max_attempts=1)

    async def check(log: EventLog) -> None:
        watch, seen = watching()
        tenant = Tenant(log, answer=answer)
        async with working(log, tenant, refused, watch):
            await log.append([status("available")])
            await eventually(lambda: _long(tenant.calls, 1))
            await eventually(lambda: _dead(log, "off"))
            await log.append([status("unavailable")])
            await eventually(lambda: _long(seen, 2))
        assert [echo for _, _, echo in seen] == [None, None]
        assert not await log.redis.exists(log.key("acted", "charge-point:1"))

    on_each_server(check)


def test_actions_of_every_kind_that_did_nothing_make_no_chain_longer(on_each_server):
    """No notification shows this one, and it is remembered since it answers an echo."""
    request = build(OPERATIONS["charge-point.clear-cache"], {"chargePoint": 1}, {})

    async def check(log: EventLog) -> None:
        act = RecentCall(now_ms() - 1_000, CHANGE, "off", "0-1-0", "Inoperative")
        for number in range(6):
            body = status("unavailable").body
            echo = StoredEvent(
                0,
                f"{number}-0",
                "HardwareStatusNotification",
                "charge-point:1",
                body,
                now_ms(),
                recent_calls=(act,),
            )
            guard = LoopGuard(log, "h", echo, depth=3, lifted=False, alive=lambda: True)
            await guard.admit(request)
            await guard.revoke(request)
        assert not await log.redis.exists(log.key("acted", "charge-point:1"))

    on_each_server(check)


def test_a_repeated_attempt_is_one_call_of_the_chain(on_each_server):
    @handler("on", calls=[CHANGE])
    async def twice(event: Event[HardwareStatus], ctx: Context) -> None:
        await on.function(event, ctx)
        if ctx.attempt < 4:
            raise Retry("once more", after_s=0)

    async def check(log: EventLog) -> None:
        tenant = Tenant(log)
        async with working(log, tenant, off, twice, depth=2):
            await log.append([status("available")])
            await eventually(lambda: _long([word for _, word in tenant.calls if word == "Operative"], 4))
        assert await log.redis.zcard(log.key("chain", "charge-point:1")) == 2

    on_each_server(check)


def test_handlers_that_call_nothing_leave_nothing_in_redis(on_each_server):
    async def check(log: EventLog) -> None:
        watch, seen = watching()
        async with working(log, Tenant(log), watch):
            await log.append([status("available", n) for n in range(100)])
            await eventually(lambda: _long(seen, 100))
        keys = [key.decode() async for key in log.redis.scan_iter(match=f"{log.prefix}*")]
        assert [key for key in keys if key.removeprefix(log.prefix).startswith(("act", "chain"))] == []

    on_each_server(check)


def test_what_is_remembered_is_bounded_and_goes(on_each_server):
    async def check(log: EventLog) -> None:
        for number in range(3 * KEPT):
            act = RecentCall(0, "x.y", "h", f"0-{number}-0", "w|;,ö")
            await _remember(log, act, str(number), depth=KEPT + 2, echo_at_ms=now_ms() - 1)
        assert (await log.redis.get(log.key("acted", "charge-point:1"))).count(b"|") == KEPT - 1
        assert await log.redis.zcard(log.key("chain", "charge-point:1")) == KEPT + 2
        for name in ("acted:charge-point:1", "chain:charge-point:1", "acting"):
            assert 0 < await log.redis.pttl(log.key(name)) <= LOOP_MS

    on_each_server(check)


def test_a_chain_has_so_many_calls_in_any_ten_minutes(on_each_server):
    async def check(log: EventLog) -> None:
        chain = log.key("chain", "charge-point:1")
        began_ms = now_ms()
        for number in range(4):
            assert await _remember(log, nonce=f"n{number}", depth=5, echo_at_ms=began_ms) is None
        held = await _remember(log, nonce="n4", depth=5, echo_at_ms=began_ms)
        assert held is not None
        assert (held.entity, held.calls) == ("charge-point:1", 5)
        assert 590 < held.wait_s <= 600
        assert await _remember(log, nonce="n3", depth=5, echo_at_ms=began_ms) is None, "it is the same call"
        assert await _remember(log, nonce="genuine", depth=5) is None, "it continues no chain"
        await log.redis.zadd(chain, {"first": began_ms - LOOP_MS})
        assert await _remember(log, nonce="n4", depth=5, echo_at_ms=began_ms) is None
        assert await _remember(log, nonce="n5", depth=5, echo_at_ms=began_ms) is not None
        await log.redis.zadd(chain, dict.fromkeys(("n0", "n1", "n2", "n3", "n4"), began_ms + 10**9))
        assert await _remember(log, nonce="n6", depth=5, echo_at_ms=began_ms) is None, "a clock went back"

    on_each_server(check)


def test_a_call_about_two_entities_counts_for_both(on_each_server):
    async def check(log: EventLog) -> None:
        both = ("charge-point:1", "session:2")
        await _remember(log, nonce="n0", depth=2, echo_at_ms=now_ms() - 1, entities=both[1:])
        held = await _remember(log, nonce="more", depth=2, echo_at_ms=now_ms() - 1, entities=both)
        assert held is not None
        assert held.entity == "session:2"
        assert not await log.redis.exists(log.key("chain", "charge-point:1")), "nothing was remembered"
        await forget(log, both, nonce="n0")
        assert await _remember(log, nonce="more", depth=2, echo_at_ms=now_ms() - 1, entities=both) is None

    on_each_server(check)


@pytest.mark.parametrize(
    "text", [b"\xff\xfe", b"|||;;;", b"x;a;b;c;d;e", b"1;a;b", b"99999999999999999999;a;b;c;d;e"]
)
def test_a_record_that_cannot_be_read_is_no_echo(on_each_server, text: bytes):
    async def check(log: EventLog) -> None:
        watch, seen = watching()
        await log.redis.set(log.key("acting"), "1")
        await log.redis.set(log.key("acted", "charge-point:1"), text)
        async with working(log, Tenant(log), watch):
            await log.append([status("unavailable")])
            await eventually(lambda: _long(seen, 1))
        assert seen[0][2] is None

    on_each_server(check)


@pytest.mark.parametrize("before_ms", [-1, 0, ECHO_MS, ECHO_MS + 1])
def test_an_echo_comes_within_minutes_after_its_call(before_ms: int):
    text = f"{5_000_000 - before_ms};{CHANGE};h;0-1-0;Inoperative;n".encode()
    assert bool(read_calls(text, 5_000_000)) is (0 <= before_ms <= ECHO_MS)


def test_an_open_record_keeps_what_its_event_may_echo():
    act = RecentCall(1, CHANGE, "h", "0-1-0", "Inoperative")
    event = StoredEvent(0, "5-0", "t", "charge-point:1", b"{}", 5, recent_calls=(act,))
    assert decode_open(0, b"5-0", encode_open(OpenRecord(event, "retry", 7))).event.recent_calls == (act,)
    plain = encode_open(OpenRecord(event._replace(recent_calls=()), "retry", 7))
    assert b"acts" not in plain
    assert decode_open(0, b"5-0", plain).event.recent_calls == ()


def test_a_guarded_delivery_is_bounded_by_its_age():
    guarded = LoopGuarded("loop-guard: 5 actions", after_s=599.0)
    h = Handler("h", print, {}, not_yet_for_s=3_600)
    outcome = outcome_of(guarded, h, attempt=99, age_s=0.0, uniform=max)
    assert (outcome.kind, outcome.reason, outcome.counts, outcome.delay_s) == (
        "retry",
        "loop-guard",
        False,
        599,
    )
    assert outcome_of(guarded, h, attempt=1, age_s=3_601.0, uniform=max).reason == "too-early-for-too-long"


@pytest.mark.parametrize("alive", [True, False])
def test_with_redis_away_no_action_leaves_unremembered(alive: bool):
    """Under a live lease it is asked again; without one the attempt ends."""

    async def check() -> None:
        asked = 0

        class Channel:
            async def call(self, *_: Any) -> list[Any]:
                nonlocal asked
                asked += 1
                if asked < 3:
                    raise ConnectionLost("away")
                return []

        class Log:
            prefix = "awr:"
            channel = Channel()

            class scripts:  # noqa: N801
                act = None

        event = StoredEvent(0, "5-0", "t", "charge-point:1", b"{}", 5)
        guard = LoopGuard(Log(), "h", event, depth=5, lifted=False, alive=lambda: alive)  # type: ignore[arg-type]
        request = build(OPERATIONS[CHANGE], {"chargePoint": 1}, {"type": "Operative"})
        if alive:
            await guard.admit(request)
            assert asked == 3
        else:
            with pytest.raises(DeliveryRevoked):
                await guard.admit(request)

    asyncio.run(check())


def test_a_raw_handler_sees_echoes_too(on_each_server):
    seen: list[Echo | None] = []

    @handler("raw", on=["*"], start="oldest")
    async def raw(event: Event[Raw], ctx: Context) -> None:
        seen.append(event.echo_of)

    async def check(log: EventLog) -> None:
        async with working(log, Tenant(log), off, raw):
            await log.append([status("available")])
            await eventually(lambda: _long(seen, 2))
        assert [echo and echo.handler for echo in seen] == [None, "off"]

    on_each_server(check)


async def _remember(
    log: EventLog,
    act: RecentCall = ACT,
    nonce: str = "n",
    *,
    depth: int = 100,
    echo_at_ms: int | None = None,
    entities: tuple[str, ...] = ("charge-point:1",),
) -> Any:
    return await remember(log, act, entities, nonce=nonce, depth=depth, echo_at_ms=echo_at_ms, lift=False)


async def _events(log: EventLog) -> list[StoredEvent]:
    found = []
    for lane in range(log.lanes):
        for stream_id, fields in await log.redis.xrange(log.key("events", lane)):
            found.append(decode_event(lane, stream_id, [part for pair in fields.items() for part in pair]))
    return found


async def _dead(log: EventLog, name: str) -> bool:
    return bool(await log.redis.xlen(log.key("dead", name)))


async def _long(found: list[Any], count: int) -> bool:
    return len(found) >= count


def _holds(condition: Callable[[], bool]) -> Callable[[], Awaitable[bool]]:
    async def holds() -> bool:
        return condition()

    return holds
