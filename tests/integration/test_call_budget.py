"""The rate budget in Redis: what a draw gives, and how answers of the API steer it."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from eventlog.call_budget import CallBudget, Drawn, budget_standing
from eventlog.log import EventLog
from tests.harness import eventually, opened


class Process:
    """One process that draws from the budget of a log."""

    def __init__(self, log: EventLog, name: str = "a", per_s: float | None = None) -> None:
        self._budget = CallBudget(log, per_s=per_s, process=name)

    async def draw(self, reserved: int = 0, ordinary: int = 0, **news: int) -> Drawn:
        drawn = await self._budget.draw(reserved, ordinary, news)
        assert drawn is not None
        return drawn

    async def gets(self, reserved: int = 0, ordinary: int = 0, **news: int) -> tuple[int, int]:
        drawn = await self.draw(reserved, ordinary, **news)
        return drawn.reserved, drawn.ordinary


async def _change(log: EventLog, **fields: Any) -> None:
    await log.redis.hset(log.key("budget"), mapping=fields)


async def _now_ms(log: EventLog) -> int:
    seconds, micros = await log.redis.time()
    return int(seconds) * 1000 + int(micros) // 1000


async def _no_time_passes(log: EventLog) -> None:
    """Let no token come back until the next draw: a moment in the future counts as now."""
    await _change(log, at=await _now_ms(log) + 60_000)


def test_without_a_known_limit_all_that_is_wanted_is_given(on_each_server):
    async def check(log: EventLog) -> None:
        drawn = await Process(log).draw(3, 500)
        assert (drawn.reserved, drawn.ordinary, drawn.per_s) == (3, 500, None)

    on_each_server(check)


def test_what_an_answer_says_is_left_is_all_that_there_is(on_each_server):
    async def check(log: EventLog) -> None:
        one = Process(log)
        assert await one.gets(0, 0, limit=100, remaining=30, reset_ms=60_000) == (0, 0)
        assert await one.gets(ordinary=50) == (0, 10), "20 of 100 are kept for reserved calls"
        assert await one.gets(reserved=50) == (20, 0)
        drawn = await one.draw(1, 1)
        assert (drawn.reserved, drawn.ordinary) == (0, 0)
        assert 55 < drawn.reserved_wait_s <= 60
        assert 55 < drawn.ordinary_wait_s <= 60

    on_each_server(check)


def test_other_users_of_the_token_leave_less(on_each_server):
    async def check(log: EventLog) -> None:
        one = Process(log)
        await one.draw(limit=1000, remaining=900, reset_ms=60_000)
        assert await one.gets(ordinary=100, used=100) == (0, 100)
        assert await one.gets(reserved=500, remaining=7) == (7, 0)

    on_each_server(check)


def test_a_new_period_brings_new_tokens(on_each_server):
    async def check(log: EventLog) -> None:
        one = Process(log)
        await one.draw(limit=10, remaining=0, reset_ms=2_000)
        waits = await one.draw(ordinary=1)
        assert waits.ordinary == 0
        assert 0 < waits.ordinary_wait_s <= 2

        async def again() -> bool:
            return (await one.draw(ordinary=5)).ordinary == 5

        await eventually(again)

    on_each_server(check)


def test_a_limit_without_a_reset_is_found_again_by_a_call(on_each_server):
    """The next answer that names more than before shows that a new period has begun."""

    async def check(log: EventLog) -> None:
        one = Process(log)
        await one.draw(limit=10, remaining=0)
        assert await one.gets(reserved=1) == (0, 0)

        async def probe() -> bool:
            return (await one.draw(reserved=1)).reserved == 1

        await eventually(probe)
        assert await one.gets(reserved=20, used_reserved=1, limit=10, remaining=9) == (9, 0)

    on_each_server(check)


def test_unused_tokens_can_be_given_back(on_each_server):
    async def check(log: EventLog) -> None:
        one = Process(log)
        await one.draw(limit=100, remaining=100, reset_ms=60_000)
        assert await one.gets(ordinary=80) == (0, 80)
        assert await one.gets(ordinary=80, used=50, back=30) == (0, 30)

    on_each_server(check)


def test_a_refusal_pauses_every_process_for_as_long_as_it_asks(on_each_server):
    async def check(log: EventLog) -> None:
        began_ms = await _now_ms(log)
        await Process(log, "a").draw(refused=1, pause_ms=7_000)
        drawn = await Process(log, "b").draw(1, 1)
        passed_s = (await _now_ms(log) - began_ms) / 1000
        assert (drawn.reserved, drawn.ordinary) == (0, 0)
        assert 6.999 - passed_s <= drawn.reserved_wait_s <= 7

    on_each_server(check)


def test_refusals_that_name_no_pause_wait_longer_each_time(on_each_server):
    async def check(log: EventLog) -> None:
        one, waits = Process(log), []
        for _ in range(3):
            waits.append((await one.draw(1, 0, refused=20)).reserved_wait_s)
            now_ms = await _now_ms(log)
            await _change(log, refused_at=now_ms - 2_000, pause=now_ms - 1)
        assert [round(wait) for wait in waits] == [1, 2, 4]

    on_each_server(check)


def test_refusals_without_a_limit_teach_a_rate_that_rises_again(on_each_server):
    async def check(log: EventLog) -> None:
        one = Process(log)
        await one.draw(used=400)
        drawn = await one.draw(refused=3, used=0, pause_ms=0)
        assert drawn.per_s == pytest.approx(20), "half of the 40 per second that were too many"
        await one.draw(refused=9, pause_ms=0)
        assert (await one.draw()).per_s == pytest.approx(20), "answers of one moment are one refusal"
        now_ms = await _now_ms(log)
        await _change(log, raised=now_ms - 10_000, refused_at=now_ms - 10_000)
        await one.draw()
        assert (await one.draw()).per_s == pytest.approx(25)
        await _change(log, refused_at=now_ms - 601_000)
        assert (await one.draw()).per_s is None, "it is forgotten after ten minutes without a refusal"

    on_each_server(check)


def test_a_configured_limit_holds_where_no_answer_names_one(on_each_server):
    async def check(log: EventLog) -> None:
        one = Process(log, per_s=20.0)
        assert await one.gets(ordinary=100) == (0, 16), "a second of it, less the share that is kept"
        await _no_time_passes(log)
        assert await one.gets(reserved=100) == (4, 0)
        await _no_time_passes(log)
        drawn = await one.draw(ordinary=1)
        assert (drawn.per_s, drawn.ordinary_wait_s) == (20, 5 / 20)

    on_each_server(check)


def test_the_lower_of_two_limits_holds(on_each_server):
    async def check(log: EventLog) -> None:
        await Process(log).draw(limit=60, remaining=60, reset_ms=60_000)
        assert (await Process(log, per_s=50.0).draw()).per_s == 1
        assert (await Process(log, per_s=0.5).draw()).per_s == 0.5

    on_each_server(check)


def test_no_process_takes_all_that_is_left(on_each_server):
    async def check(log: EventLog) -> None:
        one, two = Process(log, "a"), Process(log, "b")
        await one.draw(limit=100, remaining=100, reset_ms=60_000)
        await two.draw()
        assert await one.gets(ordinary=1_000) == (0, 40)
        assert await two.gets(ordinary=1_000) == (0, 20)
        assert (await two.draw()).processes == 2

    on_each_server(check)


def test_live_workers_count_as_processes(on_each_server):
    async def check(log: EventLog) -> None:
        now_ms = await _now_ms(log)
        beats = {
            "default|a": now_ms,
            "default|b": now_ms,
            "default|c": now_ms,
            "default|gone": now_ms - 5_000,
        }
        await log.redis.zadd(log.key("workers:beats"), beats)
        assert (await Process(log).draw()).processes == 3

    on_each_server(check)


def test_a_clock_that_went_back_makes_no_pause_longer(on_each_server):
    async def check(log: EventLog) -> None:
        one = Process(log)
        await one.draw(limit=10, remaining=0, reset_ms=1_000)
        year_ms = 365 * 86_400_000
        later = await _now_ms(log) + year_ms
        await _change(log, pause=later, reset=later, at=later, seen=later, refused_at=later)
        drawn = await one.draw(1, 1)
        assert drawn.reserved_wait_s <= 900

    on_each_server(check)


def test_a_limit_that_no_answer_named_for_an_hour_is_forgotten(on_each_server):
    async def check(log: EventLog) -> None:
        one = Process(log)
        await one.draw(limit=10, remaining=5)
        await _change(log, seen=await _now_ms(log) - 3_601_000)
        assert (await one.draw(0, 99)).ordinary == 99

    on_each_server(check)


@pytest.mark.parametrize("number", [-1, 0, 10**30])
def test_odd_numbers_stop_nobody_for_ever(on_each_server, number: int):
    async def check(log: EventLog) -> None:
        one = Process(log)
        odd = dict.fromkeys(("used", "used_reserved", "back", "refused"), number)
        said = dict.fromkeys(("limit", "remaining", "reset_ms", "pause_ms"), number)
        await one.draw(1, 1, **odd, **said)
        drawn = await one.draw(1, 1)
        assert 0 <= drawn.reserved_wait_s <= 900
        assert 0 <= drawn.reserved <= 1

    on_each_server(check)


def test_what_it_keeps_is_bounded(on_each_server):
    async def check(log: EventLog) -> None:
        for number in range(50):
            await Process(log, f"p{number}").draw(1, 1, limit=9, remaining=3, refused=1, used=5, pause_ms=1)
        assert await log.redis.hlen(log.key("budget")) <= 20
        assert 0 < await log.redis.pttl(log.key("budget:users")) <= 10_000

    on_each_server(check)


def test_with_redis_away_nothing_is_given_and_nothing_raised(server, prefix):
    async def check() -> None:
        async with opened(server.url, prefix) as log:
            one = CallBudget(log)
            assert await one.draw(1, 1, {}) is not None
            server.stop()
            assert await one.draw(1, 1, {}) is None

    asyncio.run(check())


def test_a_draw_whose_answer_was_lost_counts_its_calls_once(on_each_server):
    async def check(log: EventLog) -> None:
        answers = [False, True, True]

        async def lossy(**arguments: Any) -> Any:
            reply = await log.scripts.draw(**arguments)
            if not answers.pop(0):
                raise TimeoutError
            return reply

        class Lossy:
            prefix, scripts = log.prefix, SimpleNamespace(draw=lossy)

        one = CallBudget(Lossy(), process="a")  # type: ignore[arg-type]
        assert await one.draw(1, 1, {"used": 3, "refused": 1, "pause_ms": 0}) is None
        assert await one.draw(1, 1, {"used": 5, "refused": 1, "used_reserved": 2, "pause_ms": 0}) is not None
        assert await one.draw(1, 1, {"used": 4}) is not None
        found = await budget_standing(log)
        assert (found.ordinary, found.reserved, found.refused) == (9, 2, 1)

    on_each_server(check)


def test_a_process_that_follows_another_of_its_name_is_heard_from_its_first_draw(on_each_server):
    """Forks of isolated handlers share a name."""

    async def check(log: EventLog) -> None:
        for used in (2, 3):
            one = CallBudget(log, process="a")
            for news in ({}, {"used": used}, {"used": 1}):
                assert await one.draw(1, 1, news) is not None
        assert (await budget_standing(log)).ordinary == 7
        another = CallBudget(log, process="a")
        assert await another.draw(1, 1, {"used": 1, "refused": 1, "pause_ms": 60_000}) is not None
        found = await budget_standing(log)
        assert (found.ordinary, found.refused) == (8, 1)
        drawn = await another.draw(1, 1, {})
        assert drawn is not None
        assert (drawn.reserved, drawn.ordinary) == (0, 0), "the pause holds"

    on_each_server(check)


def test_one_line_says_what_is_known(on_each_server):
    async def check(log: EventLog) -> None:
        one = Process(log)
        assert (await budget_standing(log)).sentence.startswith("no call was made yet")
        await one.draw(used=3, used_reserved=1)
        found = await budget_standing(log)
        assert (found.sentence, found.reserved, found.ordinary) == (
            "no limit seen; 4 calls, 0 refused for their rate",
            1,
            3,
        )
        await one.draw(limit=60, remaining=12, reset_ms=60_000, refused=2, pause_ms=30_000)
        said = (await budget_standing(log)).sentence
        assert said.startswith("limit 60 calls per 60 s; 0 left, said ")
        assert "; no calls for " in said
        assert said.endswith("; 4 calls, 2 refused for their rate")
        assert (await budget_standing(log)).row()["limit"] == 60

    on_each_server(check)
