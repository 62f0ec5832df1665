"""The state that a handler keeps of each entity, on a real server: when it is written, read, refused, and dropped."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from pydantic import BaseModel

from eventlog.clock import now_ms
from eventlog.entity_records import STATE_MS, records_of, states
from eventlog.log import EventLog
from eventlog.operation.handlers import rename, retire
from handlers import Backoff, Context, Event, GiveUp, Raw, Retry, Skip, SyncContext, handler
from tests.harness import at_work, declaration, drained, event, eventually, position
from workers.drain import entity_records


class Counted(BaseModel):
    n: int = 0
    last: str = ""


async def kept(log: EventLog, name: str = "h") -> dict[str, Any]:
    return {key: json.loads(document) async for key, document, _ in states(log, name)}


async def dead_reasons(log: EventLog, name: str = "h") -> list[str]:
    return [fields[b"reason"].decode() for _, fields in await log.redis.xrange(log.key("dead", name))]


def counting(**options: Any) -> Any:
    @handler("h", on=["*"], entity_state=Counted, **options)
    async def h(event: Event[Raw], ctx: Context[None, None, Counted]) -> None:
        before = ctx.entity_state or Counted()
        ctx.entity_state = Counted(n=before.n + 1, last=event.payload.data["word"])

    return h


def test_each_event_of_a_key_sees_what_the_one_before_has_kept_also_in_one_batch(on_each_server):
    h = counting()

    async def check(log: EventLog) -> None:
        await log.declare([declaration(h)])
        await log.append(
            [event("t", f"e:{n}", word=word) for word in ("a", "b", "c") for n in range(20)]
            + [event("t", None, word="x", n=1)]
        )
        await drained(log, h)
        assert await kept(log) == {f"e:{n}": {"n": 3, "last": "c"} for n in range(20)}
        await log.append([event("t", "e:1", word="d")])
        await drained(log, h)  # another drain reads it again
        assert (await kept(log))["e:1"] == {"n": 4, "last": "d"}
        assert await dead_reasons(log) == ["state-without-key"]
        left_ms = await log.redis.pttl(log.key("state", "h", "e:1"))
        assert STATE_MS - 60_000 < left_ms <= STATE_MS

    on_each_server(check)


def test_what_a_handler_changes_inside_of_its_state_is_kept_and_none_removes_it(with_lane):
    seen: list[Any] = []

    @handler("h", on=["*"], entity_state=dict[str, Any])
    def h(event: Event[Raw], ctx: SyncContext[None, None, dict[str, Any]]) -> None:
        seen.append(ctx.entity_state)
        match event.payload.data["word"]:
            case "new":
                ctx.entity_state = {"list": []}
            case "add":
                assert ctx.entity_state is not None
                ctx.entity_state["list"].append("é")
            case "remove":
                ctx.entity_state = None
            case "skip":
                ctx.entity_state = {"skipped": True}
                raise Skip("x")

    async def check(log: EventLog) -> None:
        await log.declare([declaration(h)])
        for word, expected in (
            ("new", {"list": []}),
            ("add", {"list": ["é"]}),
            ("look", {"list": ["é"]}),
            ("remove", None),
            ("skip", {"skipped": True}),
        ):
            await log.append([event("t", "e:1", word=word)])
            await drained(log, h)
            assert (await kept(log)).get("e:1") == expected, word
        assert await dead_reasons(log) == []

    with_lane(check)


@pytest.mark.parametrize("end", [Retry("x", after_s=60), GiveUp("x"), ValueError("x")])
def test_the_state_of_an_attempt_that_is_neither_done_nor_skipped_is_forgotten(with_lane, end):
    @handler("h", on=["*"], entity_state=Counted, backoff=Backoff(base_s=60, cap_s=60, jitter=False))
    async def h(event: Event[Raw], ctx: Context[None, None, Counted]) -> None:
        ctx.entity_state = Counted(n=(ctx.entity_state or Counted()).n + 1)
        if ctx.entity_state.n == 2:
            raise end

    async def check(log: EventLog) -> None:
        await log.declare([declaration(h)])
        await log.append([event("t", "e:1", n=n) for n in range(2)])
        await drained(log, h)
        assert await kept(log) == {"e:1": {"n": 1, "last": ""}}

    with_lane(check)


def test_a_retry_sees_the_state_as_it_was_before_its_first_attempt(with_lane):
    seen: list[int] = []

    @handler("h", on=["*"], entity_state=Counted, backoff=Backoff(base_s=0.01, cap_s=0.01, jitter=False))
    async def h(event: Event[Raw], ctx: Context[None, None, Counted]) -> None:
        state = ctx.entity_state or Counted()
        seen.append(state.n)
        state.n += 1
        ctx.entity_state = state
        if ctx.attempt < 3:
            raise ValueError

    async def check(log: EventLog) -> None:
        await log.declare([declaration(h)])
        await log.append([event("t", "e:1", n=n) for n in range(2)])
        await drained(log, h, until=lambda: len(seen) == 6)
        assert seen == [0, 0, 0, 1, 1, 1]
        assert await kept(log) == {"e:1": {"n": 2, "last": ""}}

    with_lane(check)


class Stricter(BaseModel):
    n: int
    owner: str


class Grown(BaseModel):
    n: int
    owner: str = "unknown"


def test_a_stored_state_that_no_longer_fits_is_dead_and_a_default_migrates_it(with_lane):
    seen: list[Any] = []

    def of(model: Any) -> Any:
        @handler("h", on=["*"], entity_state=model)
        async def h(event: Event[Raw], ctx: Context) -> None:
            seen.append(ctx.entity_state)

        return h

    async def check(log: EventLog) -> None:
        await log.declare([declaration(counting())])
        await log.append([event("t", "e:1", word="a")])
        await drained(log, counting())
        for model in (Stricter, Grown):
            await log.append([event("t", "e:1", word="b")])
            await drained(log, of(model))
        assert await dead_reasons(log) == ["state-misfit"]
        assert seen == [Grown(n=1)]
        # What was read and not changed is written as the new type has it.
        assert await kept(log) == {"e:1": {"n": 1, "owner": "unknown"}}

    with_lane(check)


@pytest.mark.parametrize(
    ("value", "slug"),
    [
        ({"n": 1}, "state-type"),
        (Counted.model_construct(n=object()), "state-type"),
        (Counted(last="x" * 5_000), "state-too-large"),
        (Counted(last="é" * 2_050), "state-too-large"),
    ],
)
def test_a_state_that_cannot_be_kept_is_refused_where_it_is_assigned(with_lane, value, slug):
    reached: list[int] = []

    @handler("h", on=["*"], entity_state=Counted)
    async def h(event: Event[Raw], ctx: Context) -> None:
        ctx.entity_state = value
        reached.append(1)

    async def check(log: EventLog) -> None:
        await log.declare([declaration(h)])
        await log.append([event("t", "e:1")])
        await drained(log, h)
        assert await dead_reasons(log) == [slug]
        assert (reached, await kept(log)) == ([], {})

    with_lane(check)


def test_a_state_that_grew_inside_of_its_object_is_refused_at_the_end(with_lane):
    @handler("h", on=["*"], entity_state=dict)
    async def h(event: Event[Raw], ctx: Context) -> None:
        if ctx.entity_state is None:
            ctx.entity_state = {}
        ctx.entity_state["word"] = event.payload.data["word"]

    async def check(log: EventLog) -> None:
        await log.declare([declaration(h)])
        await log.append([event("t", "e:1", word="a"), event("t", "e:1", word="x" * 5_000)])
        await drained(log, h)
        assert await dead_reasons(log) == ["state-too-large"]
        assert await kept(log) == {"e:1": {"word": "a"}}

    with_lane(check)


def test_a_handler_without_a_declared_state_has_none(with_lane):
    @handler("h", on=["*"])
    async def h(event: Event[Raw], ctx: Context) -> None:
        if event.payload.data["word"] == "read":
            assert ctx.entity_state is None
        elif event.payload.data["word"] == "write":
            ctx.entity_state = {}
        else:
            ctx.later("check", 1)

    async def check(log: EventLog) -> None:
        await log.declare([declaration(h)])
        await log.append([event("t", "e:1", word=word) for word in ("read", "write", "later")])
        await drained(log, h)
        assert await dead_reasons(log) == ["state-undeclared", "state-undeclared", "timer-undeclared"]

    with_lane(check)


def test_a_rename_takes_the_states_along_and_a_retirement_drops_them(on_each_server):
    h = counting()

    async def check(log: EventLog) -> None:
        await log.declare([declaration(h)])
        await log.append([event("t", f"e:{n}", word="a") for n in range(10)])
        await drained(log, h)
        before = await kept(log)
        await rename(log, "h", "new", now_ms=now_ms())
        assert (await kept(log), await kept(log, "new")) == ({}, before)
        await retire(log, "new", now_ms=now_ms())
        assert await kept(log, "new") == {}

    on_each_server(check)


def test_what_is_known_of_entities_is_bounded_and_what_redis_does_not_know_yet_is_not_forgotten(
    with_lane, monkeypatch
):
    monkeypatch.setattr(entity_records, "_MOST_BYTES", 1)
    h = counting()

    async def check(log: EventLog) -> None:
        await log.declare([declaration(h)])
        await log.append([event("t", f"e:{n % 30}", word=str(n)) for n in range(240)])
        await drained(log, h)
        assert {each["n"] for each in (await kept(log)).values()} == {8}

    with_lane(check)


def test_an_entity_that_is_at_work_elsewhere_is_read_again_after_a_takeover(with_lane):
    go_on = asyncio.Event()
    begun: list[str] = []

    @handler("h", on=["*"], entity_state=Counted)
    async def h(event: Event[Raw], ctx: Context[None, None, Counted]) -> None:
        begun.append(event.payload.data["word"])
        ctx.entity_state = Counted(n=(ctx.entity_state or Counted()).n + 1)
        if event.payload.data["word"] == "slow":
            await go_on.wait()

    async def check(log: EventLog) -> None:
        await log.declare([declaration(h)])
        await log.append([event("t", "e:1", word="first"), event("t", "e:1", word="slow")])

        async def second_runs() -> bool:
            return begun == ["first", "slow"]

        async with at_work(log, h):
            await eventually(second_runs)
            await log.redis.delete(log.key("lease", "h", 0))  # another worker took it over
            go_on.set()
        assert await kept(log) == {"e:1": {"n": 1, "last": ""}}
        await log.redis.zadd(log.key("due", "default"), {"h|0": 0})
        await drained(log, h)
        assert begun == ["first", "slow", "slow"]
        assert await kept(log) == {"e:1": {"n": 2, "last": ""}}
        assert (await position(log, "h")).open == 0
        assert (await records_of(log, "h", {"e:1": 0}))["e:1"].timers == ()

    with_lane(check)
