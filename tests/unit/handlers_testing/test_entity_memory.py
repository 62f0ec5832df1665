"""The kit's timers and states: a clock that a test moves lets timers fall due, by the rules of a worker."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import BaseModel

from ampeco.notifications import SessionUpdate
from handlers import Context, Event, GiveUp, Raw, Retry, Skip, SyncContext, Timer, handler
from handlers.testing import Clock, Memory, Outcome, PlannedTimer, deliver, deliver_due, event_of, timer_of

START = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)


class Data(BaseModel):
    tries: int


class Check(Timer):
    data: Data


class Seen(BaseModel):
    events: int = 0


def update(status: str = "active", id: str = "1") -> Event[SessionUpdate]:
    return event_of(SessionUpdate, session={"id": id, "status": status})


@handler("h", entity_state=Seen)
async def h(event: Event[SessionUpdate | Check], ctx: Context[None, None, Seen]) -> None:
    ctx.entity_state = Seen(events=(ctx.entity_state or Seen()).events + 1)
    if isinstance(event.payload, Check):
        if event.payload.data.tries < 2:
            ctx.later("check", 60, Data(tries=event.payload.data.tries + 1))
        raise Skip(f"try {event.payload.data.tries}")
    match event.payload.session.status:
        case "active":
            ctx.later("check", 60, Data(tries=1))
        case "finished":
            ctx.cancel_later("check")
        case "preparing":
            ctx.later("check", 60, Data(tries=1))
            raise Retry("not yet", after_s=1)
        case _:
            ctx.later("check", 60, Data(tries=1))
            raise GiveUp("unknown")


def outcomes(memory: Memory, *events: Event[Any]) -> list[Outcome]:
    async def run() -> list[Outcome]:
        return [await deliver(h, event, memory=memory) for event in events]

    return asyncio.run(run())


def due(memory: Memory) -> list[Outcome]:
    return asyncio.run(deliver_due(h, memory))


def test_a_timer_falls_due_when_the_clock_is_moved_and_may_set_itself_again():
    memory = Memory(Clock(START))
    (outcome,) = outcomes(memory, update())
    assert outcome.timers == (PlannedTimer("check", 60.0, {"tries": 1}),)
    assert outcome.state == Seen(events=1)
    assert memory.timers(h) == {("session:1", "check"): START + timedelta(seconds=60)}
    memory.clock.move(59)
    assert due(memory) == []
    memory.clock.move(1)
    (first,) = due(memory)
    assert (first.kind, first.reason, first.timers[0].data) == ("skipped", "try 1", {"tries": 2})
    memory.clock.move(60)
    assert [(each.reason, each.state) for each in due(memory)] == [("try 2", Seen(events=3))]
    assert memory.timers(h) == {}


def test_timers_of_several_entities_fall_due_in_their_order():
    memory = Memory(Clock(START))
    for number in ("1", "2", "3"):
        outcomes(memory, update(id=number))
        memory.clock.move(1)
    memory.clock.move(58)
    assert len(due(memory)) == 2
    memory.clock.move(1)
    assert len(due(memory)) == 1


@pytest.mark.parametrize(("status", "kind"), [("preparing", "retry"), ("odd", "dead")])
def test_an_attempt_that_is_neither_done_nor_skipped_leaves_nothing(status, kind):
    memory = Memory(Clock(START))
    (outcome,) = outcomes(memory, update(status))
    assert (outcome.kind, outcome.timers, outcome.state) == (kind, (), None)
    assert memory.timers(h) == {}
    assert outcomes(memory, update())[0].state == Seen(events=1)


def test_a_cancelled_timer_does_not_run_and_one_that_fell_due_before_is_superseded():
    memory = Memory(Clock(START))
    outcomes(memory, update())
    memory.clock.move(60)
    event = memory.entities.next_due(h)
    assert event is not None
    assert outcomes(memory, update("finished"))[0].cancelled == ("check",)
    (late,) = outcomes(memory, event)
    assert (late.kind, late.slug, late.state) == ("superseded", "timer-over", None)
    outcomes(memory, update(), update("finished"))
    memory.clock.move(60)
    assert due(memory) == []


def test_a_dry_run_shows_what_would_be_noted_and_notes_nothing():
    memory = Memory(Clock(START))
    outcome = asyncio.run(deliver(h, update(), memory=memory, dry_run=True))
    assert (outcome.timers[0].name, outcome.state) == ("check", Seen(events=1))
    assert memory.timers(h) == {}
    assert outcomes(memory, update())[0].state == Seen(events=1)


def test_a_timer_can_be_made_by_hand_and_its_data_must_fit():
    (outcome,) = outcomes(Memory(), timer_of(h, "check", Data(tries=5)))
    assert (outcome.kind, outcome.reason) == ("skipped", "try 5")
    (misfit,) = outcomes(Memory(), timer_of(h, "check", {"tries": "many"}))
    assert (misfit.kind, misfit.slug) == ("dead", "payload-mismatch")


def test_a_raw_handler_that_names_the_type_gets_its_timers_as_plain_data():
    seen: list[Any] = []

    @handler("raw", on=["*", "receiver.timer"], order="none")
    def raw(event: Event[Raw], ctx: SyncContext) -> None:
        seen.append((event.kind, event.payload.data.get("name"), event.payload.data.get("data")))
        if event.kind == "notification":
            ctx.later("x", 0, [1, {"a": None}])

    async def run() -> None:
        memory = Memory()
        await deliver(raw, update(), memory=memory)
        await deliver_due(raw, memory)

    asyncio.run(run())
    assert seen == [("notification", None, None), ("timer", "x", (1, {"a": None}))]


def test_timers_that_set_themselves_again_at_once_end_the_test():
    @handler("loop")
    async def loop(event: Event[SessionUpdate | Timer], ctx: Context) -> None:
        ctx.later("x", 0)

    async def run() -> None:
        memory = Memory()
        await deliver(loop, update(), memory=memory)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("handlers.testing.delivery._MOST_TIMERS", 20)
            await deliver_due(loop, memory)

    with pytest.raises(RuntimeError, match="again and again"):
        asyncio.run(run())


class Grown(BaseModel):
    events: int
    last: str = "unknown"


def test_a_state_of_an_earlier_version_can_be_given():
    @handler("t.grown", entity_state=Grown)
    async def grown(event: Event[SessionUpdate], ctx: Context[None, None, Grown]) -> None:
        assert ctx.entity_state is not None
        ctx.entity_state.events += 1

    event, memory = update(), Memory()
    memory.set_state(grown, "session:1", {"events": 3})
    outcome = asyncio.run(deliver(grown, event, memory=memory))
    assert outcome.state == Grown(events=4, last="unknown")
    memory.set_state(grown, "session:1", {"number": 3})
    assert asyncio.run(deliver(grown, event, memory=memory)).slug == "state-misfit"
