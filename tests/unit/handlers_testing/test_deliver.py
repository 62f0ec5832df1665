"""A delivery in a test ends as a worker would end it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from pydantic import Field
from pydantic_settings import BaseSettings

from ampeco.errors import ChargePointRefused, NoAnswer, NotSent
from ampeco.notifications import HardwareStatus, SessionUpdate
from handlers import (
    Backoff,
    Context,
    Event,
    GiveUp,
    Raw,
    Retry,
    Skip,
    SyncContext,
    Throttle,
    Unavailable,
    handler,
)
from handlers.testing import (
    FakeAmpeco,
    Memory,
    UndeclaredCall,
    deliver,
    deliver_until_settled,
    event_of,
)


def run(*given, **how):
    return asyncio.run(deliver(*given, **how))


def handler_that(ends, **options):
    @handler("t.ends", **options)
    async def made(event: Event[HardwareStatus], ctx: Context) -> None:
        await ends(event, ctx)

    return made


def raising(error, **options):
    async def ends(event, ctx):
        raise error

    return handler_that(ends, **options)


async def reset(event, ctx):
    await ctx.ampeco.actions.charge_point.reset(event.payload.charge_point_id, "soft")


EVENT = event_of("HardwareStatusNotification", hardware_status="faulted")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (Skip("not now"), ("skipped", "not now", "skipped", None)),
        (GiveUp("never"), ("dead", "never", "gave-up", None)),
        (Retry("later", after_s=60), ("retry", "later", "retry-asked", 60.0)),
        (Retry("early", after_s=60, counts=False), ("retry", "early", "not-yet", 60.0)),
    ],
)
def test_outcomes_have_the_words_of_their_author(error, expected):
    outcome = run(raising(error), EVENT)
    assert (outcome.kind, outcome.reason, outcome.slug, outcome.after_s) == expected


def test_an_exception_is_tried_again_by_policy_and_dead_at_the_end():
    failing = raising(ValueError("secret"), max_attempts=3, backoff=Backoff(base_s=10, jitter=False))
    memory = Memory()
    first, second, third = (run(failing, EVENT, memory=memory) for _ in range(3))
    assert [(o.kind, o.reason, o.after_s) for o in (first, second, third)] == [
        ("retry", "error", 10.0),
        ("retry", "error", 20.0),
        ("dead", "attempts-exhausted", None),
    ]
    assert (third.detail, "secret" in repr(third)) == ("ValueError", False)
    assert run(failing, EVENT, attempt=3).kind == "dead"


def test_deliveries_until_the_end_move_the_clock():
    failing = raising(ValueError(), max_attempts=3, backoff=Backoff(base_s=10, jitter=False))
    memory = Memory()
    began = memory.clock.now_s()
    assert asyncio.run(deliver_until_settled(failing, EVENT, memory=memory)).slug == "attempts-exhausted"
    assert memory.clock.now_s() - began == pytest.approx(30)


def test_a_retry_without_a_pause_does_not_hang_the_test():
    with pytest.raises(RuntimeError, match=r"not settled after 1,000 attempts .* 'at once'"):
        asyncio.run(deliver_until_settled(raising(Retry("at once", after_s=0)), EVENT))


def test_patience_has_an_end():
    memory, early = Memory(), raising(Retry("early", after_s=60, counts=False), not_yet_for_s=100)
    assert run(early, EVENT, memory=memory).kind == "retry"
    memory.clock.move(101)
    assert run(early, EVENT, memory=memory).slug == "too-early-for-too-long"


def test_where_is_asked_first():
    async def ends(event, ctx):
        raise AssertionError

    def never(event: Event[HardwareStatus]) -> bool:
        return False

    assert run(handler_that(ends, where=never), EVENT).reason == "filtered"


def test_a_type_that_it_does_not_want_is_not_wanted():
    assert run(raising(ValueError()), event_of("cdr.received")).reason == "not-wanted"


def test_an_action_that_is_not_declared_is_dead_and_not_sent():
    ampeco = FakeAmpeco()
    outcome = run(handler_that(reset), EVENT, ampeco=ampeco)
    assert (outcome.kind, outcome.reason) == ("dead", "call-not-declared")
    assert outcome.operations == ["charge-point.reset"]
    assert ampeco.calls == []


def test_an_action_that_is_not_declared_is_told_also_where_the_handler_hides_it():
    async def ends(event, ctx):
        try:
            await reset(event, ctx)
        except Exception:
            ctx.log.info("hidden")

    with pytest.raises(UndeclaredCall, match=r"charge-point\.reset"):
        run(handler_that(ends), EVENT)


def test_a_declared_action_is_called_with_what_the_contract_wants():
    outcome = run(handler_that(reset, calls=["charge-point.reset"]), EVENT)
    (call,) = outcome.calls
    assert (outcome.kind, call.operation, call.status) == ("done", "charge-point.reset", 202)
    assert call.path.endswith("/12/reset/soft")


def test_a_required_field_that_does_not_fit_is_dead_at_once():
    @handler("t.reads")
    async def reads(event: Event[SessionUpdate], ctx: Context) -> None:
        _ = event.payload.session.energy + 1

    odd = event_of(SessionUpdate, session={"energy": "12,5"})
    outcome = run(reads, odd)
    assert (outcome.kind, outcome.reason, outcome.detail) == ("dead", "payload-mismatch", "session.energy")

    @handler("t.strict", strict=True)
    async def strict(event: Event[SessionUpdate], ctx: Context) -> None: ...

    assert run(strict, odd).reason == "payload-mismatch"


def test_the_time_limit_ends_an_attempt():
    async def ends(event, ctx):
        await asyncio.sleep(60)

    outcome = run(handler_that(ends), EVENT, timeout_s=0.05)
    assert (outcome.kind, outcome.reason) == ("retry", "timed-out")


def test_a_def_handler_runs_in_a_thread_with_the_client_for_it():
    @handler("t.threaded", calls=["charge-point.reset"])
    def threaded(event: Event[HardwareStatus], ctx: SyncContext) -> None:
        ctx.ampeco.actions.charge_point.reset(event.payload.charge_point_id, "hard")
        ctx.once("mail", lambda: "sent")

    outcome = run(threaded, EVENT)
    assert (outcome.kind, outcome.operations) == ("done", ["charge-point.reset"])
    assert "mail" in outcome.steps


def test_a_handler_of_everything_gets_plain_data():
    seen = []

    @handler("t.all", on=["*"])
    async def everything(event: Event[Raw], ctx: Context) -> None:
        seen.append(event.payload.data["hardwareStatus"])

    assert run(everything, EVENT).kind == "done"
    assert seen == ["faulted"]


# -- once-only steps


def test_a_step_is_called_once_for_an_event_and_its_result_kept():
    results = []

    async def ends(event, ctx):
        results.append(await ctx.once("n", lambda: len(results)))

    made, memory = handler_that(ends), Memory()
    first, second = (run(made, EVENT, memory=memory) for _ in range(2))
    assert (first.steps, second.steps, results) == (("n",), (), [0, 0])
    assert memory.steps(made) == {"n": "done"}
    run(made, EVENT)  # another memory
    assert results[-1] == 2


@pytest.mark.parametrize("is_async", [True, False], ids=["async", "def"])
def test_a_handler_learns_whether_a_step_was_called_or_remembered(is_async):
    learned = []

    async def in_loop(event: Event[HardwareStatus], ctx: Context) -> None:
        await ctx.once("n", lambda: 1)
        learned.append(ctx.remembered("n"))
        with pytest.raises(KeyError, match="no step 'm' has returned"):
            ctx.remembered("m")

    def in_thread(event: Event[HardwareStatus], ctx: SyncContext) -> None:
        ctx.once("n", lambda: 1)
        learned.append(ctx.remembered("n"))

    made = handler("h")(in_loop if is_async else in_thread)
    memory = Memory()
    outcomes = [run(made, EVENT, memory=memory) for _ in range(2)]
    assert learned == [False, True]
    assert [(outcome.steps, outcome.remembered) for outcome in outcomes] == [(("n",), ()), ((), ("n",))]


def test_outside_of_a_worker_every_step_was_called():
    async def called() -> bool:
        ctx: Context = Context(ampeco=FakeAmpeco().client, settings=None, state=None)
        await ctx.once("n", lambda: 1)
        return ctx.remembered("n")

    assert asyncio.run(called()) is False


def test_a_throttle_counts_what_is_done_by_the_clock_of_the_test():
    @handler("h", throttle="1/h", key=lambda event: event.payload.evse_id)
    async def h(event: Event[HardwareStatus], ctx: Context) -> None:
        if event.payload.hardware_status == "available":
            raise Skip("no fault")

    memory = Memory()

    def kinds(*fields: Any) -> list[str]:
        events = [event_of(HardwareStatus, evse_id=evse, hardware_status=status) for evse, status in fields]
        return [run(h, event, memory=memory).reason for event in events]

    assert kinds((1, "available"), (1, "faulted"), (2, "faulted"), (1, "faulted")) == [
        "no fault",
        "",
        "",
        "throttled",
    ]
    memory.clock.move(3_600)
    assert kinds((1, "faulted")) == [""]


def test_a_throttle_that_waits_says_for_how_long():
    @handler("h", throttle=Throttle("1/m", over="wait"))
    async def h(event: Event[HardwareStatus], ctx: Context) -> None: ...

    memory = Memory()
    run(h, event_of(HardwareStatus), memory=memory)
    memory.clock.move(20)
    outcome = run(h, event_of(HardwareStatus), memory=memory)
    assert (outcome.kind, outcome.reason, outcome.detail, outcome.counts) == (
        "retry",
        "throttled",
        "over 1/m",
        False,
    )
    assert outcome.after_s == pytest.approx(40, abs=0.1)
    assert run(h, event_of(HardwareStatus), memory=memory, dry_run=True).kind == "done"


def test_an_action_that_must_not_happen_twice_does_not():
    async def ends(event, ctx):
        await ctx.ampeco.actions.user.add_balance(5001, amount=5.0, reason="refund")

    made, memory, ampeco = handler_that(ends, calls=["user.add-balance"]), Memory(), FakeAmpeco()
    ampeco.seed("users", 5001, balance=1.0)
    for _ in range(2):
        assert run(made, EVENT, memory=memory, ampeco=ampeco).kind == "done"
    assert len(ampeco.called("user.add-balance")) == 1
    assert ampeco.read("users", 5001)["balance"] == 6.0


@pytest.mark.parametrize(
    ("error", "kind", "reason"),
    [(NoAnswer, "dead", "step-uncertain"), (ChargePointRefused, "retry", "error")],
)
def test_what_may_have_happened_is_for_a_human(error, kind, reason):
    async def ends(event, ctx):
        await ctx.ampeco.actions.user.add_balance(5001, amount=5.0, reason="refund")

    ampeco = FakeAmpeco()
    ampeco.fail("user.add-balance", error)
    outcome = run(handler_that(ends, calls=["user.add-balance"]), EVENT, ampeco=ampeco)
    assert (outcome.kind, outcome.reason) == (kind, reason)


def test_what_was_not_sent_is_called_again():
    async def ends(event, ctx):
        await ctx.ampeco.actions.user.add_balance(5001, amount=5.0, reason="refund")

    made, memory, ampeco = handler_that(ends, calls=["user.add-balance"]), Memory(), FakeAmpeco()
    ampeco.fail("user.add-balance", NotSent)
    assert run(made, EVENT, memory=memory, ampeco=ampeco).kind == "retry"
    ampeco.answer("user.add-balance", {"success": True}, times=1)
    assert run(made, EVENT, memory=memory, ampeco=ampeco).kind == "done"


# -- settings, lifespan, dry runs


class Settings(BaseSettings, env_prefix="T_KIT_"):
    word: str = Field(description="a word")


def test_settings_come_from_the_test_or_the_environment_and_the_lifespan_is_entered(monkeypatch):
    seen = []

    @asynccontextmanager
    async def lifespan(settings: Settings) -> AsyncIterator[str]:
        seen.append("in")
        yield f"state of {settings.word}"
        seen.append("out")

    @handler("t.settings", settings=Settings, lifespan=lifespan)
    async def made(event: Event[HardwareStatus], ctx: Context[Settings, str]) -> None:
        seen.append((ctx.settings.word, ctx.state))

    run(made, EVENT, settings=Settings(word="given"))
    assert seen == ["in", ("given", "state of given"), "out"]
    run(made, EVENT, settings=Settings(word="given"), state="mine")
    assert seen[3:] == [("given", "mine")]
    monkeypatch.setenv("T_KIT_WORD", "read")
    run(made, EVENT, state="mine")
    assert seen[4:] == [("read", "mine")]


def test_a_dry_run_says_what_would_be_done():
    called = []

    async def ends(event, ctx):
        assert ctx.dry_run
        await ctx.once("mail", lambda: called.append("mail"), dry=None)
        await reset(event, ctx)

    ampeco = FakeAmpeco()
    outcome = run(handler_that(ends, calls=["charge-point.reset"]), EVENT, ampeco=ampeco, dry_run=True)
    assert (outcome.steps, outcome.operations) == (("mail",), ["charge-point.reset"])
    assert (called, ampeco.calls) == ([], [])


def test_a_dry_run_knows_recorded_steps_and_ends_at_others():
    async def ends(event, ctx):
        assert await ctx.once("first", lambda: 5) == 5
        if ctx.dry_run or ctx.attempt > 1:
            await ctx.once("second", lambda: 6)

    made, memory = handler_that(ends), Memory()
    assert run(made, EVENT, memory=memory).kind == "done"
    outcome = run(made, EVENT, memory=memory, dry_run=True)
    assert (outcome.kind, outcome.reason, outcome.steps) == ("ended", "would do: second", ("second",))


def test_what_is_unavailable_spends_no_attempt():
    outcome = run(raising(Unavailable("billing", retry_after_s=30)), EVENT)
    assert (outcome.kind, outcome.reason, outcome.detail, outcome.counts) == (
        "retry",
        "unavailable",
        "billing",
        False,
    )
    assert (outcome.after_s or 0) >= 30


def test_errors_of_the_code_are_dead_after_ten_minutes_and_others_after_a_day():
    for error, slug, least_s, most_s in (
        (TypeError(), "code-error", 599, 1_200),
        (OSError(), "retried-too-long", 86_399, 90_000),
    ):
        memory = Memory()
        began = memory.clock.now_s()
        assert asyncio.run(deliver_until_settled(raising(error), EVENT, memory=memory)).slug == slug
        assert least_s <= memory.clock.now_s() - began <= most_s


@pytest.mark.parametrize("most_s", [5.0, 20.0, 60.0, 1_800.0])
def test_how_long_the_code_fails_is_known_after_more_attempts_than_are_kept(most_s):
    async def fails(event, ctx):
        raise TypeError

    failing = handler_that(fails, backoff=Backoff(base_s=1.0, cap_s=most_s))
    for _ in range(20):  # pauses are random
        memory = Memory()
        began = memory.clock.now_s()
        assert asyncio.run(deliver_until_settled(failing, EVENT, memory=memory)).slug == "code-error"
        assert 599 <= memory.clock.now_s() - began <= 605


@pytest.mark.parametrize(("error", "slug"), [(KeyError, "code-error"), (OSError, "retried-too-long")])
def test_a_clock_that_was_ahead_does_not_lengthen_how_long_failures_go_on(error, slug):
    async def fails(event, ctx):
        raise error

    async def tried():
        memory, failing = Memory(), handler_that(fails)
        memory.clock.move(30 * 86_400)
        await deliver(failing, EVENT, memory=memory)
        memory.clock.move(-30 * 86_400)
        began_s = memory.clock.now_s()
        outcome = await deliver_until_settled(failing, EVENT, memory=memory)
        return outcome.slug, memory.clock.now_s() - began_s

    ended, lasted_s = asyncio.run(tried())
    assert ended == slug
    assert lasted_s < (700 if error is KeyError else 88_500)


def test_a_failure_after_a_long_wait_begins_its_own_time():
    async def waits(event, ctx):
        if clock.now_s() - began_s < 90_000:
            raise Retry("not yet", after_s=3_600, counts=False)
        tried.append(ctx.attempt)
        if len(tried) < 3:
            raise OSError

    memory, tried = Memory(), []
    clock = memory.clock
    began_s = clock.now_s()
    assert asyncio.run(deliver_until_settled(handler_that(waits), EVENT, memory=memory)).kind == "done"
    assert tried == [1, 2, 3]


def test_a_delivery_takes_milliseconds():
    async def many():
        ampeco, made = FakeAmpeco(), handler_that(reset, calls=["charge-point.reset"])
        await deliver(made, EVENT, ampeco=ampeco)
        began = time.process_time()
        for _ in range(50):
            await deliver(made, EVENT, ampeco=ampeco)
        return (time.process_time() - began) / 50

    assert asyncio.run(many()) < 0.02
