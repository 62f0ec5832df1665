"""A recorded once-only step is not called again. The outcome of an interrupted one is not guessed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import httpx2
import pytest
from pydantic import BaseModel

from ampeco.client import AsyncClient, Client
from ampeco.errors import ChargePointRefused, NoAnswer, NotSent, RateLimited, RequestRefused, ServerFault
from eventlog import step_ledger as ledger_module
from eventlog.errors import LeaseLost
from eventlog.lease import Lease
from eventlog.log import EventLog
from eventlog.step_ledger import Scope, StepLedger
from handlers import Context, Event, Raw, Retry, StepUncertain, SyncContext, handler
from tests.harness import VERSION, declaration, event, on_log, position
from workers.delivery.attempt import Runtime
from workers.drain.dispatcher import Dispatcher

DAY_MS = 86_400_000
RESEND = "notifications.resend-failed"
Check = Callable[[EventLog], Awaitable[None]]


@pytest.fixture
def on_each_log(log_url, prefix) -> Callable[[Check], None]:
    """Run a check against a log of one lane on each kind of server."""

    def run(check: Check) -> None:
        on_log(log_url, prefix, check, lanes=1)

    return run


async def handled(log: EventLog, h: Any, *events: Any, **runtime: Any) -> None:
    """Append the events and run the handler until nothing is left of them."""
    await log.declare([declaration(h)])
    await log.append(list(events) or [event()])
    dispatcher = Dispatcher(log, "default", {h.name: Runtime(h, VERSION, **runtime)})
    async with asyncio.timeout(60):
        while await dispatcher.work() or await unsettled(log, h.name):
            pass
    await dispatcher.stop()


async def unsettled(log: EventLog, name: str) -> bool:
    found = await position(log, name)
    return bool(found.waiting or found.open)


async def reasons(log: EventLog, name: str = "h") -> list[str]:
    """Why deliveries are dead."""
    return [fields[b"reason"].decode() for _, fields in await log.redis.xrange(log.key("dead", name))]


async def ledgers(log: EventLog) -> dict[str, dict[str, Any]]:
    """Scope -> step -> record."""
    start = log.key("ledger", "h", "")
    found = {}
    async for key in log.redis.scan_iter(match=f"{start}*"):
        records = await log.redis.hgetall(key)
        found[key.decode().removeprefix(start)] = {k.decode(): json.loads(v) for k, v in records.items()}
    return found


def test_a_repeated_handler_gets_results_instead_of_calling_again(on_each_log):
    called: list[str] = []
    got: list[Any] = []

    @handler("h", on=["*"], timeout_s=5)
    async def h(event: Event[Raw], ctx: Context) -> None:
        async def call(name: str) -> dict[str, Any]:
            called.append(name)
            return {"n": [], "name": name, "big": 2**60, "tiny": 0.1}

        for n, name in enumerate("abc", 1):
            got.append(await ctx.once(name, lambda name=name: call(name)))
            if ctx.attempt == n:
                raise Retry("later", after_s=0)

    async def check(log: EventLog) -> None:
        await handled(log, h)
        assert called == ["a", "b", "c"]
        assert [result["name"] for result in got] == ["a", "a", "b", "a", "b", "c", "a", "b", "c"]
        assert got[0] == got[1] == {"n": [], "name": "a", "big": 2**60, "tiny": 0.1}

    on_each_log(check)


def test_a_def_handler_in_its_thread_gets_the_same(with_lane):
    called: list[int] = []
    got: list[int] = []

    @handler("h", on=["*"], timeout_s=5)
    def h(event: Event[Raw], ctx: SyncContext) -> None:
        def call() -> int:
            called.append(ctx.attempt)
            return ctx.attempt * 10

        got.append(ctx.once("step", call))
        if ctx.attempt == 1:
            raise Retry("later", after_s=0)

    async def check(log: EventLog) -> None:
        await handled(log, h)
        assert (called, got) == ([1], [10, 10])

    with_lane(check)


def test_a_step_of_an_entity_is_called_once_for_all_its_events(with_lane):
    called: list[str] = []

    @handler("h", on=["*"], timeout_s=5)
    async def h(event: Event[Raw], ctx: Context) -> None:
        await ctx.once("mail", lambda: called.append(event.key or ""), per="entity")

    async def check(log: EventLog) -> None:
        keys = ("session:1", "session:2", "session:1", None)
        await handled(log, h, *(event(key=key, n=n) for n, key in enumerate(keys)))
        assert sorted(called) == ["session:1", "session:2"]
        assert await reasons(log) == ["step-without-key"]

    with_lane(check)


CERTAIN = [
    NotSent("x", None, ""),
    RequestRefused("x", 400, ""),
    ChargePointRefused("x", 406, ""),
    RateLimited("x", 429, "", retry_after_s=0),
    Retry("no connection", after_s=0),
    ServerFault("notifications.list", 503, ""),
    ServerFault("GET /public-api/resources/robots/v1.0", 503, ""),
]
UNKNOWN = [
    NoAnswer("x", None, ""),
    ServerFault("x", 503, ""),
    ServerFault("GET /public-api/actions/robots/v1.0", 503, ""),
    ValueError("anything"),
]


@pytest.mark.parametrize("error", CERTAIN, ids=lambda e: type(e).__name__)
def test_what_certainly_did_not_happen_is_called_again(with_lane, monkeypatch, error):
    monkeypatch.setattr("random.uniform", lambda low, high: 0.0)
    calls: list[int] = []

    @handler("h", on=["*"], timeout_s=5)
    async def h(event: Event[Raw], ctx: Context) -> None:
        def call() -> None:
            calls.append(ctx.attempt)
            if len(calls) == 1:
                raise error

        await ctx.once("step", call)

    async def check(log: EventLog) -> None:
        await handled(log, h)
        assert len(calls) == 2
        assert await reasons(log) == []

    with_lane(check)


@pytest.mark.parametrize("error", UNKNOWN, ids=lambda e: type(e).__name__)
def test_what_may_have_happened_is_dead_at_once(with_lane, error):
    calls: list[int] = []

    @handler("h", on=["*"], timeout_s=5)
    async def h(event: Event[Raw], ctx: Context) -> None:
        def call() -> None:
            calls.append(ctx.attempt)
            raise error

        await ctx.once("step", call)

    async def check(log: EventLog) -> None:
        await handled(log, h)
        assert (calls, await reasons(log)) == ([1], ["step-uncertain"])

    with_lane(check)


def test_what_may_have_happened_is_called_again_where_the_author_says_so(with_lane, monkeypatch):
    monkeypatch.setattr("random.uniform", lambda low, high: 0.0)
    calls: list[int] = []

    @handler("h", on=["*"], timeout_s=5)
    async def h(event: Event[Raw], ctx: Context) -> None:
        def call() -> None:
            calls.append(ctx.attempt)
            if ctx.attempt < 3:
                raise ValueError

        await ctx.once("step", call, on_uncertain="retry")

    async def check(log: EventLog) -> None:
        await handled(log, h)
        assert (calls, await reasons(log)) == ([1, 2, 3], [])

    with_lane(check)


def test_a_call_cut_off_by_the_time_out_is_uncertain(with_lane, monkeypatch):
    monkeypatch.setattr("random.uniform", lambda low, high: 0.0)
    calls: list[int] = []

    @handler("h", on=["*"], timeout_s=1.0)
    async def h(event: Event[Raw], ctx: Context) -> None:
        async def call() -> None:
            calls.append(ctx.attempt)
            await asyncio.sleep(60)

        await ctx.once("step", call)

    async def check(log: EventLog) -> None:
        await handled(log, h)
        assert (calls, await reasons(log)) == ([1], ["step-uncertain"])

    with_lane(check)


class Receipt(BaseModel):
    number: str


@pytest.mark.parametrize(
    ("result", "returns", "dead"),
    [
        (Receipt(number="7"), Receipt, []),
        ([Receipt(number="7")], list[Receipt], []),
        (Receipt(number="7"), None, ["step-result"]),
        ("a word", Receipt, ["step-result"]),
        ({1, 2}, None, ["step-result"]),
        (float("nan"), None, ["step-result"]),
        ("x" * 70_000, None, ["step-result"]),
    ],
    ids=["model", "models", "model-unnamed", "misfit", "set", "nan", "large"],
)
def test_a_result_is_given_back_as_it_was_or_its_event_is_dead_after_one_call(
    with_lane, result, returns, dead
):
    calls: list[int] = []
    got: list[Any] = []

    @handler("h", on=["*"], timeout_s=5)
    async def h(event: Event[Raw], ctx: Context) -> None:
        def call() -> Any:
            calls.append(1)
            return result

        got.append(await ctx.once("step", call, returns=returns))
        if len(got) == 1:
            raise Retry("later", after_s=0)

    async def check(log: EventLog) -> None:
        await handled(log, h)
        assert (await reasons(log), calls) == (dead, [1])
        assert got == ([] if dead else [result, result])

    with_lane(check)


def test_a_ledger_lives_on_from_the_settlement_of_its_event(with_lane):
    before: list[int] = []

    @handler("h", on=["*"], timeout_s=5)
    async def h(event: Event[Raw], ctx: Context) -> None:
        await ctx.once("of-event", lambda: None)
        await ctx.once("of-entity", lambda: None, per="entity")
        before.append(await the_log.redis.pttl(the_log.key("ledger", "h", event.id)))

    async def check(log: EventLog) -> None:
        nonlocal the_log
        the_log = log
        await handled(log, h)
        assert before[0] > 365 * DAY_MS
        for scope in await ledgers(log):
            assert 29 * DAY_MS < await log.redis.pttl(log.key("ledger", "h", scope)) <= 30 * DAY_MS
        assert len(await ledgers(log)) == 2

    the_log: EventLog
    with_lane(check)


def test_old_steps_of_an_entity_make_room_for_new_ones(on_each_log):
    async def check(log: EventLog) -> None:
        lease = await taken(log)
        steps = StepLedger(log, lease, hold_s=5)
        key = log.key("ledger", "h", "session:1")
        old = json.dumps({"v": 1, "state": "done", "nonce": "n", "at_ms": 1, "result": "1", "fault": ""})
        await log.redis.hset(key, mapping={f"old-{n}": old for n in range(40)})
        for n in range(20):
            await steps.begin(Scope("session:1", lasting=True), f"new-{n}", "nonce", again=False)
        left = {name.decode() for name in await log.redis.hkeys(key)}
        assert {f"new-{n}" for n in range(20)} <= left
        assert len(left) < 40

    on_each_log(check)


def test_a_step_of_an_entity_that_is_used_stays_known_however_long_ago_it_was_called(on_each_log):
    async def check(log: EventLog) -> None:
        scope = Scope("session:1", lasting=True)
        steps = StepLedger(log, await taken(log), hold_s=5)
        old = {"v": 1, "state": "done", "nonce": "n", "at_ms": 1, "result": "1", "fault": ""}
        await log.redis.hset(log.key("ledger", "h", "session:1"), "receipt", json.dumps(old))
        for n in range(5):
            assert (await steps.begin(scope, "receipt", f"again-{n}", again=False)).state == "done"
            assert (await steps.begin(scope, f"new-{n}", "nonce", again=False)).state == "begun"

    on_each_log(check)


# Two holders


async def taken(log: EventLog, *events: Any) -> Lease:
    """Take a lease whose holder is about to die."""

    @handler("h", on=["*"])
    async def h(event: Event[Raw], ctx: Context) -> None: ...

    await log.declare([declaration(h)])
    if events:
        await log.append(list(events))
    lease = Lease(log, "h", 0, "default")
    assert await lease.take() is not None
    return lease


async def lost(log: EventLog) -> None:
    await log.redis.delete(log.key("lease", "h", 0))
    await log.redis.zadd(log.key("due", "default"), {"h|0": 0})


def test_nothing_begins_without_a_live_lease_and_the_nonce_finishes_without_one(on_each_log):
    async def check(log: EventLog) -> None:
        old = StepLedger(log, await taken(log), hold_s=5)
        scope = Scope("0-1-0")
        assert (await old.begin(scope, "step", "n1", again=False)).state == "begun"
        assert (await old.begin(scope, "step", "n1", again=False)).state == "begun"
        assert (await old.begin(scope, "step", "n2", again=False)).state == "held"
        await lost(log)
        with pytest.raises(LeaseLost):
            await old.begin(scope, "other", "n3", again=False)
        assert not await old.finish(scope, "step", "wrong", "1", "")
        assert await old.finish(scope, "step", "n1", "1", "")
        assert await old.finish(scope, "step", "n1", "1", "")
        assert not await old.clear(scope, "step", "n1")
        new = Lease(log, "h", 0, "default")
        assert await new.take() is not None
        found = await StepLedger(log, new, hold_s=5).begin(scope, "step", "n4", again=True)
        assert (found.state, found.result) == ("done", "1")

    on_each_log(check)


def test_a_step_whose_beginning_was_cancelled_before_the_answer_was_never_begun(on_each_log):
    """A time limit ends the attempt while Redis is slow: nothing was called, so nothing is uncertain."""

    async def check(log: EventLog) -> None:
        steps, scope = StepLedger(log, await taken(log), hold_s=60), Scope("0-1-0")
        await steps.begin(scope, "first", "n0", again=False)
        await log.redis.execute_command("CLIENT", "PAUSE", 10_000, "WRITE")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await steps.begin(scope, "step", "n1", again=False)
        await log.redis.execute_command("CLIENT", "UNPAUSE")
        assert (await steps.begin(scope, "step", "n2", again=False)).state == "begun"

    on_each_log(check)


@pytest.mark.parametrize("on_uncertain", ["dead", "retry"])
def test_a_step_begun_by_a_holder_who_is_gone_is_uncertain_after_a_grace(
    with_lane, monkeypatch, on_uncertain
):
    monkeypatch.setattr(ledger_module, "GRACE_MS", 100)
    calls: list[int] = []

    @handler("h", on=["*"], timeout_s=5)
    async def h(event: Event[Raw], ctx: Context) -> None:
        await ctx.once("step", lambda: calls.append(1), on_uncertain=on_uncertain, per="entity")

    async def check(log: EventLog) -> None:
        gone = StepLedger(log, await taken(log), hold_s=60)
        await gone.begin(Scope("session:1", lasting=True), "step", "n1", again=False)
        await lost(log)
        await handled(log, h)
        if on_uncertain == "dead":
            assert (calls, await reasons(log)) == ([], ["step-uncertain"])
        else:
            assert (calls, await reasons(log)) == ([1], [])
        late = await gone.finish(Scope("session:1", lasting=True), "step", "n1", "5", "")
        assert late == (on_uncertain == "dead")

    with_lane(check)


def test_who_lost_the_lease_may_still_report_within_the_grace(with_lane):
    got: list[int] = []

    @handler("h", on=["*"], timeout_s=5)
    async def h(event: Event[Raw], ctx: Context) -> None:
        try:
            got.append(await ctx.once("step", lambda: 0, per="entity"))
        except Retry:
            await gone.finish(Scope("session:1", lasting=True), "step", "n1", "5", "")
            raise

    async def check(log: EventLog) -> None:
        nonlocal gone
        gone = StepLedger(log, await taken(log), hold_s=60)
        await gone.begin(Scope("session:1", lasting=True), "step", "n1", again=False)
        await lost(log)
        await handled(log, h)
        assert (got, await reasons(log)) == ([5], [])

    gone: StepLedger
    with_lane(check)


# Actions of AMPECO


def tenant(*answers: int) -> tuple[list[bytes], dict[str, Any]]:
    """A tenant that answers with these statuses, the last one for ever, and clients for it."""
    requests: list[bytes] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        requests.append(request.content)
        return httpx2.Response(answers[min(len(requests), len(answers)) - 1], json={})

    transport = httpx2.MockTransport(answer)
    return requests, {
        "client": AsyncClient("https://tenant.example", "token", transport=transport),
        "sync_client": Client("https://tenant.example", "token", transport=transport),
    }


async def resend(ctx: Context, *types: str) -> None:
    await ctx.ampeco.actions.notifications.resend_failed("7", notifications=types)


@pytest.mark.parametrize(
    ("statuses", "sent", "dead"),
    [((202,), 1, []), ((429, 202), 2, []), ((422, 202), 2, []), ((503,), 1, ["step-uncertain"])],
)
def test_an_action_that_is_not_idempotent_is_sent_once_by_itself(
    with_lane, monkeypatch, statuses, sent, dead
):
    monkeypatch.setattr("random.uniform", lambda low, high: 0.0)

    @handler("h", on=["*"], timeout_s=5, calls=[RESEND])
    async def h(event: Event[Raw], ctx: Context) -> None:
        await resend(ctx, "a")
        if ctx.attempt < 3:
            raise Retry("later", after_s=0)

    async def check(log: EventLog) -> None:
        requests, clients = tenant(*statuses)
        await handled(log, h, **clients)
        assert (len(requests), await reasons(log)) == (sent, dead)

    with_lane(check)


def test_a_def_handlers_action_is_sent_once_by_itself(with_lane):
    @handler("h", on=["*"], timeout_s=5, calls=[RESEND])
    def h(event: Event[Raw], ctx: SyncContext) -> None:
        ctx.ampeco.actions.notifications.resend_failed("7", notifications=["a"])
        ctx.once("again", lambda: ctx.ampeco.actions.notifications.resend_failed("7", notifications=["a"]))
        if ctx.attempt == 1:
            raise Retry("later", after_s=0)

    async def check(log: EventLog) -> None:
        requests, clients = tenant(202)
        await handled(log, h, **clients)
        assert (len(requests), await reasons(log)) == (2, [])
        (steps,) = (await ledgers(log)).values()
        assert sorted(name.partition("#")[0] for name in steps) == ["again", RESEND]

    with_lane(check)


def test_a_second_equal_action_has_to_be_named(with_lane):
    @handler("h", on=["*"], timeout_s=5, calls=[RESEND])
    async def h(event: Event[Raw], ctx: Context) -> None:
        await resend(ctx, "a")
        await resend(ctx, "b")
        if event.payload.data["named"]:
            await ctx.once("second", lambda: resend(ctx, "a"))
        else:
            await resend(ctx, "a")

    async def check(log: EventLog) -> None:
        requests, clients = tenant(202)
        await handled(log, h, event(named=True), event(named=False), **clients)
        assert (len(requests), await reasons(log)) == (5, ["step-repeated"])

    with_lane(check)


def test_a_refusal_after_an_action_of_the_same_step_leaves_it_uncertain(with_lane):
    @handler("h", on=["*"], timeout_s=5, calls=[RESEND])
    async def h(event: Event[Raw], ctx: Context) -> None:
        async def both() -> None:
            await resend(ctx, "a")
            await resend(ctx, "b")

        await ctx.once("both", both)

    async def check(log: EventLog) -> None:
        requests, clients = tenant(202, 422)
        await handled(log, h, **clients)
        assert (len(requests), await reasons(log)) == (2, ["step-uncertain"])

    with_lane(check)


def test_an_action_that_ampeco_has_not_implemented_is_dead_at_once_and_not_uncertain(with_lane):
    @handler("h", on=["*"], timeout_s=5, calls=[RESEND])
    async def h(event: Event[Raw], ctx: Context) -> None:
        await resend(ctx, "a")

    async def check(log: EventLog) -> None:
        requests, clients = tenant(501)
        await handled(log, h, **clients)
        assert (len(requests), await reasons(log)) == (1, ["not-supported"])

    with_lane(check)


def test_what_a_charge_point_refused_is_tried_again(with_lane, monkeypatch):
    monkeypatch.setattr("random.uniform", lambda low, high: 0.0)

    @handler("h", on=["*"], timeout_s=5, calls=["charge-point.unlock"])
    async def h(event: Event[Raw], ctx: Context) -> None:
        await ctx.ampeco.actions.charge_point.unlock(12, 34)

    async def check(log: EventLog) -> None:
        requests, clients = tenant(406, 406, 202)
        await handled(log, h, **clients)
        assert (len(requests), await reasons(log)) == (3, [])

    with_lane(check)


MOVE = "/public-api/actions/session/v9.0/12/move"
MOVES = ["POST /public-api/actions/session/v9.0/{session}/move"]


@pytest.mark.parametrize(
    ("calls", "statuses", "sent", "reason"),
    [
        (MOVES, (202,), 1, []),
        (MOVES, (422, 202), 2, []),
        (MOVES, (500,), 1, ["step-uncertain"]),
        ([], (202,), 0, ["call-not-declared"]),
        (["POST /public-api/actions/session/v9.0/{session}/stop"], (202,), 0, ["call-not-declared"]),
    ],
)
@pytest.mark.parametrize("is_async", [True, False])
def test_a_call_by_path_keeps_the_rules_of_an_action(
    with_lane, monkeypatch, is_async, calls, statuses, sent, reason
):
    monkeypatch.setattr("random.uniform", lambda low, high: 0.0)

    async def later(event: Event[Raw], ctx: Context) -> None:
        await ctx.ampeco.call("POST", MOVE, body={"evseId": 7})

    def plain(event: Event[Raw], ctx: SyncContext) -> None:
        ctx.ampeco.call("POST", MOVE, body={"evseId": 7})

    h = handler("h", on=["*"], timeout_s=5, calls=calls)(later if is_async else plain)

    async def check(log: EventLog) -> None:
        requests, clients = tenant(*statuses)
        await handled(log, h, **clients)
        assert (requests, await reasons(log)) == ([b'{"evseId":7}'] * sent, reason)

    with_lane(check)


def test_an_undeclared_action_leaves_no_step_behind(with_lane):
    @handler("h", on=["*"], timeout_s=5)
    async def h(event: Event[Raw], ctx: Context) -> None:
        await resend(ctx, "a")

    async def check(log: EventLog) -> None:
        requests, clients = tenant(202)
        await handled(log, h, **clients)
        assert (requests, await reasons(log), await ledgers(log)) == ([], ["call-not-declared"], {})

    with_lane(check)


def test_an_author_may_answer_an_uncertain_step(with_lane):
    answered: list[str] = []

    @handler("h", on=["*"], timeout_s=5)
    async def h(event: Event[Raw], ctx: Context) -> None:
        def call() -> None:
            raise ValueError

        try:
            await ctx.once("step", call)
        except StepUncertain as error:
            answered.append(type(error.__cause__).__name__)

    async def check(log: EventLog) -> None:
        await handled(log, h)
        assert (answered, await reasons(log)) == (["ValueError"], [])

    with_lane(check)


def test_outside_of_a_worker_a_step_is_just_called():
    async def step() -> int:
        return 7

    shared: dict[str, Any] = {
        "settings": None, "state": None, "attempt": 1, "max_attempts": 8, "log": lambda: None, "ampeco": None,
    }  # fmt: skip
    assert asyncio.run(Context(**shared).once("step", step)) == 7
    assert SyncContext(**shared).once("step", lambda: 8) == 8


@pytest.mark.parametrize("is_async", [True, False], ids=["async", "def"])
def test_a_step_name_used_twice_in_one_run_is_refused(with_lane, is_async):
    """It would silently get the result of the first."""
    calls: list[str] = []

    async def in_loop(event: Event[Raw], ctx: Context) -> None:
        for card in ("one", "two"):
            await ctx.once("pay", lambda card=card: calls.append(card))

    def in_thread(event: Event[Raw], ctx: SyncContext) -> None:
        for card in ("one", "two"):
            ctx.once("pay", lambda card=card: calls.append(card))

    h = handler("h", on=["*"], timeout_s=5)(in_loop if is_async else in_thread)

    async def check(log: EventLog) -> None:
        await handled(log, h)
        assert (calls, await reasons(log)) == (["one"], ["step-repeated"])

    with_lane(check)


def test_a_step_that_was_certainly_not_done_may_be_called_again_in_the_same_run(with_lane):
    calls: list[int] = []

    @handler("h", on=["*"], timeout_s=5)
    async def h(event: Event[Raw], ctx: Context) -> None:
        def call() -> int:
            calls.append(1)
            if len(calls) == 1:
                raise NotSent("x", None, "")
            return len(calls)

        try:
            await ctx.once("pay", call)
        except NotSent:
            assert await ctx.once("pay", call) == 2

    async def check(log: EventLog) -> None:
        await handled(log, h)
        assert (len(calls), await reasons(log)) == (2, [])

    with_lane(check)
