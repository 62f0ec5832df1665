"""Senders choose the names of types: the log takes any of them, counts so many by name, and tears none."""

from __future__ import annotations

import pytest

from eventlog.inspection.events import read_counts
from eventlog.lag import count_waiting
from eventlog.log import EventLog
from handlers import Context, Event, Raw, handler
from tests.harness import declaration, drained, event, position

SEPARATING = ["a\tb", "a\nb", "a|b", "0|a", "a,b", "*", "|", "\t\n", "(other)", "accepted", " ", "\x1b[2J"]


def test_distinct_names_are_bounded_and_every_event_is_handled(on_each_server):
    seen: list[str] = []

    @handler("all", on=["*"], start="oldest")
    async def everything(event: Event[Raw], ctx: Context) -> None:
        seen.append(event.type)

    async def check(log: EventLog) -> None:
        await log.declare([declaration(everything)])
        names = [f"{n:04d}".ljust(200, "x") for n in range(1_300)]
        for at in range(0, len(names), 100):
            await log.append(
                [event(name, f"session:{n}", n=n) for n, name in enumerate(names[at : at + 100])]
            )
        counts = await read_counts(log)
        assert counts.accepted == sum(counts.by_type.values()) == 1_300
        assert len(counts.by_type) <= 1_001
        assert counts.by_type["(other)"] >= 300
        assert await log.redis.hlen(log.key("added")) == 2 * log.lanes
        assert await log.redis.scard(log.key("fresh")) <= log.lanes
        await drained(log, everything)
        assert sorted(seen) == names
        assert (await position(log, "all")).waiting == 0

    on_each_server(check)


def test_a_name_that_was_not_counted_is_counted_once_a_handler_wants_it(with_lane):
    @handler("late", on=["late.type"], start="oldest")
    async def late(event: Event[Raw], ctx: Context) -> None: ...

    async def check(log: EventLog) -> None:
        for at in range(0, 1_200, 200):
            await log.append([event(f"t{n}", None, n=n) for n in range(at, at + 200)])
        await log.append([event("late.type", None, n=n) for n in range(3)])
        assert "late.type" not in (await read_counts(log)).by_type
        await log.declare([declaration(late)])
        await log.append([event("late.type", None, n=n) for n in range(3, 5)])
        assert (await read_counts(log)).by_type["late.type"] == 2
        await count_waiting(log, ["late"], most=None)
        found = await position(log, "late")
        assert (found.waiting, found.waiting_is_exact) == (5, True)
        await drained(log, late)
        assert (await position(log, "late")).stats["done"] == 5
        await log.append([event("late.type", None, n=5)])
        found = await position(log, "late")
        assert (found.waiting, found.waiting_is_exact) == (1, True)

    with_lane(check)


@pytest.mark.parametrize("wanted", ["*", "a"])
def test_a_name_that_holds_a_separator_tears_nothing(on_each_server, wanted):
    seen: list[str] = []

    @handler("h", on=[wanted], start="oldest")
    async def h(event: Event[Raw], ctx: Context) -> None:
        seen.append(event.type)

    async def check(log: EventLog) -> None:
        await log.declare([declaration(h)])
        names = [*SEPARATING, "a"]
        await log.append([event(name, f"session:{n}", n=n) for n, name in enumerate(names)])
        await log.append([event(name, None, n=n) for n, name in enumerate(names)])
        assert dict((await read_counts(log)).by_type) == dict.fromkeys(names, 2)
        await drained(log, h)
        assert sorted(seen) == sorted(names * 2 if wanted == "*" else ["a", "a"])
        found = await position(log, "h")
        assert (found.waiting, found.waiting_is_exact) == (0, True)

    on_each_server(check)
