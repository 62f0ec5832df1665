"""AMPECO is away, with short pauses: nothing dies, and all is handled afterwards, in order."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from ampeco.errors import AmpecoError
from eventlog.log import EventLog
from eventlog.outages import AMPECO, known_outages
from handlers import Backoff, Context, Event, Handler, Raw, Retry, handler
from tests.harness import declaration, event, eventually, position
from tests.outage import FAST, Ampeco, living

Check = Callable[[EventLog], Awaitable[None]]

SESSIONS, PER_SESSION = 1_250, 4
OUTAGE_S = 6.0
SOON = Backoff(base_s=0.02, cap_s=9.0)


class Seen:
    """What handlers got, by session, in order."""

    def __init__(self) -> None:
        self.done: dict[str, list[int]] = defaultdict(list)
        self.began = 0

    @property
    def count(self) -> int:
        return sum(map(len, self.done.values()))


def reads(seen: Seen, **options: Any) -> Handler:
    """A handler that reads its session, as most do."""

    @handler("reads", on=["*"], start="oldest", backoff=SOON, **options)
    async def reads_(event: Event[Raw], ctx: Context) -> None:
        seen.began += 1
        await ctx.ampeco.call(
            "GET", f"/public-api/resources/sessions/v1.0/{str(event.key).partition(':')[2]}"
        )
        seen.done[str(event.key)].append(event.payload.data["n"])

    return reads_


def pays(seen: Seen, **options: Any) -> Handler:
    """A handler that does something which must not happen twice."""

    @handler(
        "pays", on=["*"], start="oldest", backoff=SOON, calls=["POST /public-api/actions/pay/v1.0"], **options
    )
    async def pays_(event: Event[Raw], ctx: Context) -> None:
        seen.began += 1
        await ctx.ampeco.call("POST", "/public-api/actions/pay/v1.0", body={"event": event.id})
        seen.done[str(event.key)].append(event.payload.data["n"])

    return pays_


async def finish(log: EventLog, first: int, last: int, *, sessions: int = SESSIONS) -> None:
    """Sessions finish: each one's events by number, session by session in turns."""
    new = [event("t", f"session:{n % sessions}", n=n) for n in range(first, last)]
    for at in range(0, len(new), 250):
        await log.append(new[at : at + 250])


@pytest.mark.parametrize("mode", ["503", "429", "nothing", "refused", "pause"])
def test_a_long_outage_of_ampeco_kills_nothing(with_log, mode):
    """The budget of eight attempts, of which an outage once spent all."""
    seen, ampeco, total = Seen(), Ampeco(), SESSIONS * PER_SESSION
    one = reads(seen, max_attempts=8)

    async def check(log: EventLog) -> None:
        await log.declare([declaration(one)])
        await finish(log, 0, 200)
        async with living(log, ampeco, [one]):
            await eventually(lambda: _is(seen.count == 200))
            ampeco.mode = mode
            await finish(log, 200, total // 2)
            await asyncio.sleep(OUTAGE_S)
            known = await known_outages(log)
            assert known.outages[AMPECO].away_ms is not None
            assert (await position(log, "reads")).open < 300, "only what was in flight waits there"
            began = seen.began
            await finish(log, total // 2, total)
            await asyncio.sleep(1.0)
            assert seen.began == began, "nothing starts while it is away"
            ampeco.mode = "ok"
            await eventually(lambda: _is(seen.count == total), within_s=60)
            await eventually(lambda: _settled(log, "reads"))
        found = await position(log, "reads")
        assert (found.dead, found.open, found.waiting, found.stats["done"]) == (0, 0, 0, total)
        assert all(numbers == sorted(numbers) for numbers in seen.done.values())
        assert all(len(numbers) == PER_SESSION for numbers in seen.done.values())
        assert sum(n for (_, how), n in ampeco.requests.items() if how == mode) < 400
        assert 3 <= ampeco.probes[mode] <= 12, "see FAST"
        assert (await known_outages(log)).outages[AMPECO].away_ms is None

    with_log(check)


@pytest.mark.parametrize("mode", ["503", "nothing", "429", "refused", "pause"])
def test_of_calls_that_must_not_happen_twice_only_those_before_the_outage_was_known_are_dead(with_log, mode):
    seen, ampeco, total = Seen(), Ampeco(), 600
    one = pays(seen)

    async def check(log: EventLog) -> None:
        await log.declare([declaration(one)])
        ampeco.mode = mode
        await finish(log, 0, total, sessions=200)
        async with living(log, ampeco, [one]):
            await eventually(lambda: _away(log))
            await asyncio.sleep(0.3)  # what was in flight comes to its end
            sent = ampeco.requests["POST", mode]
            await asyncio.sleep(3.0)
            assert ampeco.requests["POST", mode] == sent
            ampeco.mode = "ok"
            await eventually(lambda: _settled(log, "pays"), within_s=60)
        found = await position(log, "pays")
        assert found.stats["done"] + found.dead == total
        if mode in ("503", "nothing"):
            assert 0 < found.dead <= sent
        else:
            assert found.dead == 0, "it was certainly not carried out"
        assert all(numbers == sorted(numbers) for numbers in seen.done.values())

    with_log(check)


def test_one_session_that_always_fails_stops_nobody(with_log):
    seen, ampeco = Seen(), Ampeco()
    ampeco.sick = frozenset({"7"})
    one = reads(seen)

    async def check(log: EventLog) -> None:
        await log.declare([declaration(one)])
        async with living(log, ampeco, [one]):
            for first in range(0, 2_000, 200):
                await finish(log, first, first + 200, sessions=100)
                await asyncio.sleep(0.05)
            await eventually(lambda: _is(seen.count == 1_980))
            known = await known_outages(log)
            assert not known.away
            assert known.outages[AMPECO].away_ms is None
        assert "session:7" not in seen.done
        found = await position(log, "reads")
        assert (found.dead, found.open) == (0, 20), "it waits, and the later ones of its entity behind it"

    with_log(check)


def test_three_sick_sessions_hold_up_the_others_for_a_moment_only(with_log):
    """Five failures over three entities look like an outage, until the probe and then an event say otherwise."""
    seen, ampeco = Seen(), Ampeco()
    ampeco.sick = frozenset({"0", "1", "2"})
    one = reads(seen)

    async def check(log: EventLog) -> None:
        await log.declare([declaration(one)])
        async with living(log, ampeco, [one]):
            await finish(log, 0, 3, sessions=100)
            await eventually(lambda: _away(log))
            await finish(log, 3, 100, sessions=100)
            await eventually(lambda: _is(seen.count == 97), within_s=60)

    with_log(check)


def test_a_handler_that_does_not_call_ampeco_goes_on(with_log):
    seen, ampeco = Seen(), Ampeco()
    ampeco.mode = "503"
    one, ran = reads(seen), []

    @handler("quiet", on=["*"], start="oldest")
    async def quiet(event: Event[Raw], ctx: Context) -> None:
        ran.append(event.key)

    async def check(log: EventLog) -> None:
        await log.declare([declaration(one), declaration(quiet)])
        await finish(log, 0, 50)
        async with living(log, ampeco, [one, quiet]):
            await eventually(lambda: _away(log))
            await finish(log, 50, 100)
            await eventually(lambda: _is(len(ran) == 100))
        known = await known_outages(log)
        assert {hold.handler for hold in known.holds} == {"reads"}

    with_log(check)


def test_without_a_worker_that_can_probe_events_try_by_themselves(with_log):
    seen, ampeco = Seen(), Ampeco()
    one = reads(seen)
    rules = replace(FAST, probe_s=0.3)

    async def check(log: EventLog) -> None:
        await log.declare([declaration(one)])
        ampeco.mode = "503"
        await finish(log, 0, 300)
        async with living(log, ampeco, [one], rules=rules, probes=False):
            await eventually(lambda: _away(log))
            await asyncio.sleep(2.0)
            assert not ampeco.probes
            sent = sum(ampeco.requests.values())
            await asyncio.sleep(1.0)
            assert sum(ampeco.requests.values()) - sent <= 4, "one event at a time, and ever fewer"
            ampeco.mode = "ok"
            await eventually(lambda: _is(seen.count == 300), within_s=60)

    with_log(check)


def test_the_time_of_an_outage_does_not_count_to_the_age(with_log):
    seen, ampeco = Seen(), Ampeco()
    one = reads(seen, give_up_after_s=4.0)

    async def check(log: EventLog) -> None:
        await log.declare([declaration(one)])
        ampeco.mode = "503"
        await finish(log, 0, 60)
        async with living(log, ampeco, [one]):
            await eventually(lambda: _away(log))
            await asyncio.sleep(5.0)
            ampeco.sick = frozenset(map(str, range(60)))
            ampeco.mode = "ok"
            await asyncio.sleep(0.5)
            assert (await position(log, "reads")).dead == 0, "they are tried once more"
            ampeco.sick = frozenset()
            await eventually(lambda: _is(seen.count == 60), within_s=60)
        assert (await position(log, "reads")).dead == 0

    with_log(check)


def test_a_pause_that_a_handler_asks_for_is_kept_although_ampeco_is_back_sooner(with_log):
    began: dict[str, list[float]] = defaultdict(list)
    ampeco, ended = Ampeco(), []

    @handler("reads", on=["*"], start="oldest", backoff=SOON)
    async def one(event: Event[Raw], ctx: Context) -> None:
        began[str(event.key)].append(time.monotonic())
        try:
            await ctx.ampeco.call("GET", "/public-api/resources/sessions/v1.0/1")
        except AmpecoError as error:
            raise Retry("AMPECO does not answer", after_s=3) from error
        ended.append(event.key)

    async def check(log: EventLog) -> None:
        await log.declare([declaration(one)])
        ampeco.mode = "503"
        await finish(log, 0, 8, sessions=8)
        async with living(log, ampeco, [one]):
            await eventually(lambda: _away(log))
            ampeco.mode = "ok"
            await eventually(lambda: _is(len(ended) == 8), within_s=60)
        assert min(b - a for times in began.values() for a, b in pairwise(times)) >= 2.99

    with_log(check)


def test_a_worker_that_succeeds_keeps_ampeco_there_for_all(with_log):
    """No success between: also none of another process."""
    seen, well, ill = Seen(), Ampeco(), Ampeco()
    ill.sick = frozenset(map(str, range(10)))
    bad, good = reads(Seen()), pays(seen)

    async def check(log: EventLog) -> None:
        await log.declare([declaration(bad), declaration(good)])
        async with living(log, ill, [bad], probes=False), living(log, well, [good], probes=False):
            for first in range(0, 400, 40):
                await finish(log, first, first + 40, sessions=10)
                await asyncio.sleep(0.5)
            await eventually(lambda: _is(seen.count == 400))
        assert (await position(log, "pays")).dead == 0
        assert good.name not in (await known_outages(log)).away

    with_log(check)


async def _is(value: bool) -> bool:
    return value


async def _away(log: EventLog) -> bool:
    outage = (await known_outages(log)).outages.get(AMPECO)
    return outage is not None and outage.away_ms is not None


async def _settled(log: EventLog, name: str) -> bool:
    found = await position(log, name)
    return found.waiting == 0 and found.open == 0
