"""The part of the shared rate budget that lives in one process, against a bucket that can be looked into."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest
import uvloop

from ampeco.client import AsyncClient, Client, RetryPolicy
from ampeco.errors import RateLimited
from ampeco.operations import OPERATIONS
from ampeco.rate_limits import RateLimit
from ampeco.shared_budget import SharedBudget
from tests.late_futures import let_waits_run_out

READ, RESET = OPERATIONS["resources.users.read"], OPERATIONS["charge-point.reset"]
ONCE = RetryPolicy(attempts=1)


@dataclass
class Given:
    """What one draw gives."""

    reserved: int = 0
    ordinary: int = 0
    reserved_wait_s: float = 0.0
    ordinary_wait_s: float = 0.0
    per_s: float | None = 10.0
    processes: int = 1


class FakeBucket:
    """Gives what `answer` says, and remembers what it was asked."""

    def __init__(self, answer: Callable[[int, int], Given | None] | None = None) -> None:
        self.answer = answer or (lambda reserved, ordinary: Given(reserved, ordinary, per_s=None))
        self.asked: list[tuple[int, int, dict[str, int]]] = []

    async def draw(self, reserved: int, ordinary: int, news: Mapping[str, int], /) -> Given | None:
        self.asked.append((reserved, ordinary, dict(news)))
        await asyncio.sleep(0)
        return self.answer(reserved, ordinary)

    def reported(self, name: str) -> int:
        return sum(news.get(name, 0) for _, _, news in self.asked)


def in_loop(check: Callable[[], Awaitable[None]]) -> None:
    """Run a check in the kind of loop that workers have."""

    async def limited() -> None:
        async with asyncio.timeout(60):
            await check()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(limited())


def test_calls_of_one_chunk_draw_once():
    async def check() -> None:
        bucket = FakeBucket()
        budget = SharedBudget(bucket, clock=lambda: 5.0)
        for _ in range(500):
            await budget.acquire(READ)
        assert len(bucket.asked) == 1
        await budget.aclose()
        assert bucket.reported("used") == 500

    in_loop(check)


def test_a_steady_caller_draws_ahead_and_gives_back_what_it_did_not_use():
    async def check() -> None:
        now_s = 0.0
        bucket = FakeBucket(lambda reserved, ordinary: Given(reserved, ordinary))
        budget = SharedBudget(bucket, clock=lambda: now_s)
        await asyncio.gather(*(budget.acquire(READ) for _ in range(8)))
        assert bucket.asked[0][:2] == (0, 8)
        now_s = 0.2
        await budget.acquire(READ)
        assert bucket.asked[-1][:2] == (0, 9), "one that waits, and as many as before"
        now_s = 0.4
        await budget.acquire(READ)
        assert bucket.asked[-1][2]["back"] == 8
        assert bucket.reported("used") == 9

    in_loop(check)


def test_actions_and_urgent_handlers_draw_reserved_tokens():
    async def check() -> None:
        bucket = FakeBucket()
        budget = SharedBudget(bucket, clock=lambda: 5.0)
        await budget.acquire(READ)
        await budget.acquire(RESET)
        await budget.urgent.acquire(READ)
        await budget.aclose()
        assert (bucket.reported("used"), bucket.reported("used_reserved")) == (1, 2)

    in_loop(check)


def test_a_call_that_is_not_sent_after_its_turn_is_not_counted():
    async def check() -> None:
        bucket = FakeBucket(lambda reserved, ordinary: Given(reserved, ordinary))
        budget = SharedBudget(bucket, clock=lambda: 5.0)
        await asyncio.gather(*(budget.acquire(READ) for _ in range(3)))
        budget.give_back(READ)
        await budget.acquire(READ)
        assert len(bucket.asked) == 1, "the token that came back was free"
        budget.give_back(READ)
        budget.urgent.give_back(READ)
        await budget.aclose()
        assert (bucket.reported("used"), bucket.reported("used_reserved")) == (2, 0)

    in_loop(check)


@pytest.mark.parametrize("operation", [READ, RESET])
def test_a_call_that_is_cancelled_as_its_turn_comes_is_not_counted(operation):
    async def check() -> None:
        bucket = FakeBucket(lambda reserved, ordinary: Given(reserved, ordinary))
        budget = SharedBudget(bucket, clock=lambda: 5.0)
        call = asyncio.create_task(budget.acquire(operation))
        await asyncio.sleep(0)
        ((turn, _),) = (*budget._waiting[True], *budget._waiting[False])
        while not turn.done():
            await asyncio.sleep(0)
        call.cancel()  # before the step in which it would go on
        with pytest.raises(asyncio.CancelledError):
            await call
        await budget.acquire(operation)
        assert len(bucket.asked) == 1, "the token that came back was free"
        await budget.aclose()
        assert bucket.reported("used") + bucket.reported("used_reserved") == 1

    in_loop(check)


def test_reserved_calls_go_first_while_ordinary_ones_wait():
    async def check() -> None:
        bucket = FakeBucket(lambda reserved, ordinary: Given(1, 0, 0.02, 3.0))
        budget = SharedBudget(bucket)
        waiting = [asyncio.create_task(budget.acquire(READ)) for _ in range(3)]
        await asyncio.sleep(0)
        await asyncio.gather(*(budget.acquire(RESET) for _ in range(4)))
        assert not any(task.done() for task in waiting)
        bucket.answer = lambda reserved, ordinary: Given(reserved, ordinary)
        await asyncio.gather(*waiting)

    in_loop(check)


def test_a_call_that_would_wait_too_long_is_refused_at_once():
    async def check() -> None:
        bucket = FakeBucket(lambda reserved, ordinary: Given(0, 0, 60.0, 60.0))
        budget = SharedBudget(bucket)
        with pytest.raises(RateLimited) as refused:
            await budget.acquire(READ)
        assert (refused.value.status, refused.value.retry_after_s) == (None, 60.0)
        assert (refused.value.operation, len(bucket.asked)) == (READ.name, 1)

    in_loop(check)


def test_no_call_waits_longer_than_it_may_in_all():
    async def check() -> None:
        bucket = FakeBucket(lambda reserved, ordinary: Given(0, 0, 0.05, 0.05))
        budget = SharedBudget(bucket, longest_wait_s=1.0)
        with pytest.raises(RateLimited):
            await budget.acquire(READ)
        assert 3 <= len(bucket.asked) <= 30

    in_loop(check)


def test_a_cancelled_call_takes_no_turn():
    async def check() -> None:
        bucket = FakeBucket(lambda reserved, ordinary: Given(0, 0, 0.01, 0.01))
        budget = SharedBudget(bucket)
        gone = asyncio.create_task(budget.acquire(READ))
        await asyncio.sleep(0.03)
        gone.cancel()
        bucket.answer = lambda reserved, ordinary: Given(0, 1)
        await budget.acquire(READ)
        await budget.aclose()
        assert bucket.reported("used") == 1

    in_loop(check)


@pytest.mark.parametrize("fault", [None, ValueError("odd")], ids=["away", "raises"])
def test_with_the_bucket_away_the_last_rate_is_divided_by_the_live_processes(fault):
    async def check() -> None:
        now_s = 0.0
        bucket = FakeBucket(lambda reserved, ordinary: Given(0, 1, per_s=40.0, processes=4))
        budget = SharedBudget(bucket, longest_wait_s=0.0, clock=lambda: now_s)
        await budget.acquire(READ)

        def away(reserved: int, ordinary: int) -> None:
            if fault is not None:
                raise fault

        bucket.answer, made = away, 0
        for tick in range(1, 401):  # 10 s
            now_s = tick / 40
            try:
                await budget.acquire(READ)
                made += 1
            except RateLimited:
                pass
        assert 95 <= made <= 105
        assert len(bucket.asked) <= 12, "it is asked once a second"

    in_loop(check)


def test_with_the_bucket_away_and_no_limit_known_calls_go_on():
    async def check() -> None:
        budget = SharedBudget(FakeBucket(lambda reserved, ordinary: None))
        for _ in range(50):
            await budget.acquire(READ)
        budget.slow_down(30.0)
        with pytest.raises(RateLimited):
            await budget.acquire(READ)

    in_loop(check)


@pytest.mark.parametrize("later_s", [1.0, None])
def test_a_later_refusal_does_not_shorten_a_pause(later_s):
    async def check() -> None:
        now_s = 0.0
        budget = SharedBudget(FakeBucket(lambda reserved, ordinary: None), clock=lambda: now_s)
        budget.slow_down(30.0)
        budget.slow_down(later_s)
        now_s = 20.0
        with pytest.raises(RateLimited) as refused:
            await budget.acquire(READ)
        assert refused.value.retry_after_s == 10.0
        now_s = 30.0
        await budget.acquire(READ)

    in_loop(check)


def test_what_could_not_be_told_is_told_later():
    async def check() -> None:
        now_s = 0.0
        bucket = FakeBucket(lambda reserved, ordinary: None)
        budget = SharedBudget(bucket, clock=lambda: now_s)
        await budget.acquire(READ)
        budget.observe(RateLimit(60, 59, 30.0))
        bucket.answer, now_s = lambda reserved, ordinary: Given(reserved, ordinary), 2.0
        bucket.asked.clear()
        await budget.acquire(READ)
        await budget.aclose()
        assert [bucket.reported(name) for name in ("used", "limit", "remaining")] == [2, 60, 59]
        assert bucket.reported("reset_ms") == 28_000

    in_loop(check)


def test_answers_are_told_without_another_call():
    async def check() -> None:
        bucket = FakeBucket()
        budget = SharedBudget(bucket)
        await budget.acquire(READ)
        budget.observe(RateLimit(60, 12, None))
        budget.slow_down(2.0)
        while not bucket.reported("refused"):
            await asyncio.sleep(0.01)
        assert (bucket.reported("remaining"), bucket.reported("limit")) == (12, 60)
        assert 1_000 <= bucket.reported("pause_ms") <= 2_000
        budget.observe(RateLimit(None, 11, None))
        while bucket.reported("remaining") != 23:
            await asyncio.sleep(0.01)

    in_loop(check)


def test_after_a_refusal_tokens_of_the_chunk_are_not_spent():
    async def check() -> None:
        bucket = FakeBucket()
        budget = SharedBudget(bucket, clock=lambda: 5.0)
        await budget.acquire(READ)
        budget.slow_down(None)
        await budget.acquire(READ)
        assert len(bucket.asked) == 2

    in_loop(check)


def test_blocking_clients_wait_in_their_threads():
    async def check() -> None:
        bucket = FakeBucket(lambda reserved, ordinary: Given(reserved, ordinary))
        budget = SharedBudget(bucket)
        said: list[Any] = []

        def tenant(request: httpx2.Request) -> httpx2.Response:
            said.append(threading.get_ident())
            headers = {"X-RateLimit-Limit": "60", "X-RateLimit-Remaining": "58"}
            return httpx2.Response(200, json={"data": []}, headers=headers)

        def work() -> None:
            with Client(
                "https://t.example", "token", budget=budget, transport=httpx2.MockTransport(tenant)
            ) as client:
                for view in (client, client.gated(None, budget=budget.urgent)):
                    view.notifications.list()

        await asyncio.to_thread(work)
        await budget.aclose()
        assert len(said) == 2
        assert threading.get_ident() not in said
        assert (bucket.reported("used"), bucket.reported("used_reserved")) == (1, 1)
        assert bucket.reported("limit") in (60, 120)

    in_loop(check)


def test_a_turn_that_comes_when_a_wait_for_it_is_over_is_taken(monkeypatch):
    let_waits_run_out(monkeypatch)

    async def check() -> None:
        budget = SharedBudget(FakeBucket())
        await asyncio.to_thread(budget.take_blocking, READ, reserved=False)
        await budget.aclose()

    in_loop(check)


def test_a_client_and_its_views_ask_before_each_send():
    async def check() -> None:
        bucket = FakeBucket(lambda reserved, ordinary: Given(0, 0, 9.0, 9.0))
        budget = SharedBudget(bucket)
        sent: list[str] = []

        def tenant(request: httpx2.Request) -> httpx2.Response:
            sent.append(request.url.path)
            return httpx2.Response(200, json={"data": []})

        client = AsyncClient(
            "https://t.example", "token", retry=ONCE, budget=budget, transport=httpx2.MockTransport(tenant)
        )
        for view in (client, client.gated(None), client.gated(None, budget=budget.urgent)):
            with pytest.raises(RateLimited):
                await view.notifications.list()
        assert sent == []
        await client.aclose()

    in_loop(check)
