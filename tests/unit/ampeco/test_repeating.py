"""What is repeated and what never is, after which pauses, and the budget that all calls share."""

import asyncio
import itertools
import threading
from collections.abc import Callable, Generator
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ampeco.budget import TokenBucket
from ampeco.client import AsyncClient, Client, RetryPolicy
from ampeco.errors import (
    ActionRefused,
    ApiError,
    ChargePointRefused,
    Conflict,
    Forbidden,
    Invalid,
    NoAnswer,
    NotFound,
    NotSent,
    NotSupported,
    RateLimited,
    RequestRefused,
    ServerFault,
    Unauthorized,
)
from ampeco.operations import OPERATIONS, VERSIONS, Operation
from ampeco.rate_limits import RateLimit
from ampeco.repeating import Attempts
from ampeco.wire import WireRequest, build
from tests.unit.ampeco.scripted import TOKEN, URL, Caller, Journal, Tenant, ok

RESET = OPERATIONS["charge-point.reset"]
UNLOCK = OPERATIONS["charge-point.unlock"]
READ = OPERATIONS["notifications.read"]
HARMFUL = [key for key, operation in VERSIONS.items() if not operation.idempotent]
LONGEST = RetryPolicy(uniform=lambda low, high: high)
OK = {"data": {"id": 7}}

PASSING: list[ApiError] = [
    RateLimited("x", 429, ""),
    ServerFault("x", 500, ""),
    ServerFault("x", 503, ""),
    ServerFault("x", 599, ""),
    NoAnswer("x", None, ""),
]
FINAL: list[ApiError] = [
    RequestRefused("x", 400, ""),
    Unauthorized("x", 401, ""),
    Forbidden("x", 403, ""),
    NotFound("x", 404, ""),
    ChargePointRefused("x", 406, ""),
    Conflict("x", 409, ""),
    Invalid("x", 422, ""),
    ActionRefused("x", 200, ""),
    NotSupported("x", 501, ""),
    ServerFault("x", 302, ""),
    ServerFault("x", 200, "the answer is not JSON"),
    RateLimited("x", None, "our own budget", retry_after_s=1.0),
]


def once(operation: Operation) -> Generator[WireRequest, Any, Any]:
    """Build a call of any operation, with arguments that need not make sense."""
    return (yield build(operation, dict.fromkeys(operation.parameters, "7"), {}))


def pause_s(error: ApiError, operation: Operation = RESET, attempt: int = 1, elapsed_s: float = 0.0) -> Any:
    return LONGEST.decide(error, operation, attempt=attempt, elapsed_s=elapsed_s)


@pytest.mark.parametrize("error", PASSING, ids=repr)
def test_what_may_pass_is_repeated_where_that_is_harmless(error: ApiError) -> None:
    assert pause_s(error, RESET) is not None
    assert pause_s(error, READ) is not None
    assert pause_s(error, UNLOCK) is None


@pytest.mark.parametrize("error", FINAL, ids=repr)
def test_what_will_not_change_is_never_repeated(error: ApiError) -> None:
    for operation in (RESET, READ, UNLOCK):
        assert pause_s(error, operation) is None


def test_what_was_not_sent_is_tried_once_more_whatever_it_is() -> None:
    error = NotSent("x", None, "")
    for operation in VERSIONS.values():
        assert pause_s(error, operation, attempt=1) is not None
        assert pause_s(error, operation, attempt=2) is None


def test_pauses_double_up_to_a_cap_and_attempts_end() -> None:
    policy = RetryPolicy(
        attempts=6, base_s=1.0, cap_s=5.0, within_s=1000.0, uniform=lambda low, high: (low, high)[1]
    )
    fault = ServerFault("x", 500, "")
    pauses = [policy.decide(fault, RESET, attempt=n, elapsed_s=0.0) for n in range(1, 8)]
    assert pauses == [1.0, 2.0, 4.0, 5.0, 5.0, None, None]


def test_a_policy_may_have_more_attempts_than_a_float_has_powers_of_two() -> None:
    policy = RetryPolicy(attempts=10_000, within_s=float("inf"), uniform=lambda low, high: high)
    assert policy.decide(ServerFault("x", 500, ""), RESET, attempt=5_000, elapsed_s=0.0) == policy.cap_s


@given(attempt=st.integers(1, 2), error=st.sampled_from([ServerFault("x", 500, ""), NoAnswer("x", None, "")]))
def test_pauses_are_random_between_nothing_and_the_whole(attempt: int, error: ApiError) -> None:
    policy = RetryPolicy()
    pause = policy.decide(error, RESET, attempt=attempt, elapsed_s=0.0)
    assert pause is not None
    assert 0.0 <= pause <= policy.base_s * 2 ** (attempt - 1)


@pytest.mark.parametrize("kind", [RateLimited, ServerFault])
def test_a_pause_that_is_asked_for_is_kept_unless_it_is_too_long(kind: type[ApiError]) -> None:
    status = 429 if kind is RateLimited else 503
    for asked_s in (0.0, 1.0, LONGEST.longest_retry_after_s):
        error = kind("x", status, "", retry_after_s=asked_s)
        assert pause_s(error) == asked_s + LONGEST.base_s
        assert (
            RetryPolicy(uniform=lambda low, high: low).decide(error, RESET, attempt=1, elapsed_s=0) == asked_s
        )
    assert pause_s(kind("x", status, "", retry_after_s=LONGEST.longest_retry_after_s + 0.1)) is None


def test_no_attempt_begins_after_the_time_for_all_of_them() -> None:
    error = ServerFault("x", 500, "")
    latest_s = LONGEST.within_s - LONGEST.base_s
    assert pause_s(error, elapsed_s=latest_s) is not None
    assert pause_s(error, elapsed_s=latest_s + 0.01) is None


@pytest.mark.parametrize(
    "options", [{"attempts": 0}, {"base_s": -1.0}, {"cap_s": -1.0}, {"within_s": -1.0}], ids=repr
)
def test_an_impossible_policy_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        RetryPolicy(**options)


def test_a_call_that_may_have_been_carried_out_is_never_called_not_sent() -> None:
    now_s = itertools.count()
    attempts = Attempts(LONGEST, RESET, lambda: float(next(now_s)))
    unknown, not_sent = NoAnswer("x", None, "time-out"), NotSent("x", None, "refused")
    assert attempts.pause_s(unknown) is not None
    assert attempts.pause_s(not_sent) is None
    assert attempts.verdict(not_sent) is unknown
    refused = NotFound("x", 404, "")
    assert attempts.verdict(refused) is refused


@pytest.mark.parametrize(
    ("failure", "pauses"),
    [
        (lambda: httpx2.Response(429, headers={"Retry-After": "1"}), [1.5, 1.5]),
        (lambda: httpx2.Response(500), [0.5, 1.0]),
        (lambda: httpx2.Response(502, text="<html>"), [0.5, 1.0]),
        (lambda: httpx2.ReadTimeout("time-out"), [0.5, 1.0]),
        (lambda: httpx2.ReadError("reset"), [0.5, 1.0]),
    ],
)
def test_clients_repeat_what_is_harmless_and_wait_in_between(
    through: Caller, failure: Callable[[], Any], pauses: list[float]
) -> None:
    gate, tenant = Journal(), Tenant([failure(), failure(), ok(OK)])
    assert through(tenant, lambda c: c.notifications.read("7"), gate, retry=LONGEST).id == "7"
    assert len(tenant.requests) == 3
    assert through.pauses == pauses
    assert [entry[0] for entry in gate.seen] == ["admit", "called"] * 3


def test_the_last_error_is_the_one_that_is_raised(through: Caller) -> None:
    tenant = Tenant([ok(status=503), ok(status=500), ok({"message": "still broken"}, 502)])
    with pytest.raises(ServerFault, match="502: still broken"):
        through(tenant, lambda c: c.notifications.read("7"))
    assert tenant.answers == []


def test_a_pause_that_is_too_long_is_told_and_not_waited_for(through: Caller) -> None:
    tenant = Tenant([httpx2.Response(429, headers={"Retry-After": "900"})])
    with pytest.raises(RateLimited) as caught:
        through(tenant, lambda c: c.notifications.read("7"))
    assert caught.value.retry_after_s == 900.0
    assert through.pauses == []


def test_a_429_without_retry_after_waits_until_the_limit_resets(through: Caller) -> None:
    tenant = Tenant([httpx2.Response(429, headers={"X-RateLimit-Reset": "3"}), ok(OK)])
    through(tenant, lambda c: c.notifications.read("7"), retry=LONGEST)
    assert through.pauses == [3.0 + LONGEST.base_s]


def test_a_429_that_names_no_pause_is_repeated_after_a_random_one(through: Caller) -> None:
    tenant = Tenant([httpx2.Response(429, headers={"X-RateLimit-Remaining": "0"}), ok(OK)])
    halves = RetryPolicy(uniform=lambda low, high: (low + high) / 2)
    through(tenant, lambda c: c.notifications.read("7"), retry=halves)
    assert through.pauses == [halves.base_s / 2]


def test_a_policy_of_one_attempt_never_repeats(through: Caller) -> None:
    for failure, kind in ((httpx2.ConnectError("refused"), NotSent), (ok(status=503), ServerFault)):
        with pytest.raises(kind):
            through(Tenant([failure]), lambda c: c.notifications.read("7"), retry=RetryPolicy(attempts=1))


@pytest.mark.parametrize("key", HARMFUL, ids=" ".join)
def test_what_is_not_harmless_to_repeat_is_sent_once(key: tuple[str, str], through: Caller) -> None:
    failures = [
        httpx2.Response(429, headers={"Retry-After": "0"}),
        httpx2.Response(500),
        httpx2.Response(503, headers={"Retry-After": "0"}),
        httpx2.ReadTimeout("time-out"),
        httpx2.ReadError("reset"),
        httpx2.RemoteProtocolError("closed"),
    ]
    for failure in failures:
        tenant = Tenant([failure, ok()])
        with pytest.raises(ApiError):
            through(tenant, lambda c: c._run(once(VERSIONS[key])))
        assert len(tenant.requests) == 1
    assert through.pauses == []


def test_what_is_not_harmless_is_sent_again_only_if_it_never_left(through: Caller) -> None:
    tenant = Tenant([httpx2.ConnectError("refused"), ok()])
    through(tenant, lambda c: c.actions.charge_point.unlock("12", "34"))
    assert len(tenant.requests) == 2
    tenant = Tenant([httpx2.ConnectError("refused")] * 3)
    with pytest.raises(NotSent):
        through(tenant, lambda c: c.actions.charge_point.unlock("12", "34"))
    assert len(tenant.requests) == 2


def test_a_gate_that_refuses_a_repetition_ends_the_call(through: Caller) -> None:
    class Once(Journal):
        def admit(self, operation: Operation, path: str) -> None:
            super().admit(operation, path)
            if len(self.seen) > 1:
                raise KeyboardInterrupt("the lease is lost")

    tenant = Tenant([ok(status=503), ok(OK)])
    with pytest.raises(KeyboardInterrupt):
        through(tenant, lambda c: c.notifications.read("7"), Once())
    assert len(tenant.requests) == 1


def test_a_cancelled_task_stops_at_once() -> None:
    tenant = Tenant([ok(status=503), ok(OK)])

    async def main() -> None:
        waiting = asyncio.Event()

        async def forever(pause_s: float) -> None:
            waiting.set()
            await asyncio.Event().wait()

        transport = httpx2.MockTransport(tenant)
        async with AsyncClient(URL, TOKEN, transport=transport, sleep=forever) as client:
            task = asyncio.create_task(client.notifications.read("7"))
            await waiting.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(main())
    assert len(tenant.requests) == 1


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_a_bucket_gives_a_burst_and_then_one_turn_per_interval() -> None:
    clock = Clock()
    bucket = TokenBucket(rate_per_s=2.0, burst=3, longest_wait_s=60.0, clock=clock)
    assert [bucket.reserve(READ) for _ in range(5)] == [0.0, 0.0, 0.0, 0.5, 1.0]
    clock.now_s += 1000.0
    assert [bucket.reserve(READ) for _ in range(4)] == [0.0, 0.0, 0.0, 0.5]


def test_a_bucket_refuses_at_once_whoever_would_wait_too_long_and_keeps_no_turn_for_him() -> None:
    bucket = TokenBucket(rate_per_s=1.0, longest_wait_s=1.5, clock=Clock())
    assert [bucket.reserve(READ), bucket.reserve(READ)] == [0.0, 1.0]
    for _ in range(3):
        with pytest.raises(RateLimited) as caught:
            bucket.reserve(READ)
        assert (caught.value.status, caught.value.retry_after_s) == (None, 2.0)


@pytest.mark.parametrize(("asked_s", "wait_s"), [(4.0, 4.0), (None, 0.0)])
def test_a_bucket_is_empty_after_a_429_for_as_long_as_asked(asked_s: float | None, wait_s: float) -> None:
    bucket = TokenBucket(rate_per_s=2.0, burst=10, longest_wait_s=60.0, clock=Clock())
    bucket.slow_down(asked_s)
    assert [bucket.reserve(READ), bucket.reserve(READ)] == [wait_s + 0.5, wait_s + 1.0]


def test_a_bucket_keeps_to_what_ampeco_has_left() -> None:
    clock = Clock()
    bucket = TokenBucket(rate_per_s=2.0, burst=10, longest_wait_s=60.0, clock=clock)
    bucket.observe(RateLimit(100, 2, 30.0))
    assert [bucket.reserve(READ) for _ in range(3)] == [0.0, 0.0, 0.5]
    bucket.observe(RateLimit(100, 50, 30.0))
    assert bucket.reserve(READ) == 1.0
    bucket.observe(RateLimit(100, 0, 30.0))
    assert bucket.reserve(READ) == 30.5


def test_what_is_not_known_of_a_limit_changes_nothing() -> None:
    bucket = TokenBucket(rate_per_s=2.0, burst=2, clock=Clock())
    bucket.observe(RateLimit(100, None, 30.0))
    assert [bucket.reserve(READ), bucket.reserve(READ)] == [0.0, 0.0]


def test_a_limit_that_is_used_up_empties_the_bucket_even_without_a_reset() -> None:
    bucket = TokenBucket(rate_per_s=2.0, burst=2, clock=Clock())
    bucket.observe(RateLimit(None, 0, None))
    assert [bucket.reserve(READ), bucket.reserve(READ)] == [0.5, 1.0]


@pytest.mark.parametrize("pause_s", [99_999_999.0, float("inf")])
def test_a_bucket_is_not_empty_for_longer_than_it_believes(pause_s: float) -> None:
    for told in (lambda b: b.slow_down(pause_s), lambda b: b.observe(RateLimit(None, 0, pause_s))):
        bucket = TokenBucket(2.0, longest_wait_s=1e9, longest_pause_s=60.0, clock=Clock())
        told(bucket)
        assert bucket.reserve(READ) == 60.5


@given(st.lists(st.floats(0.0, 3.0), max_size=60), st.integers(1, 5), st.floats(0.5, 20.0))
def test_no_window_holds_more_turns_than_burst_and_rate_allow(
    gaps_s: list[float], burst: int, rate_per_s: float
) -> None:
    clock = Clock()
    bucket = TokenBucket(rate_per_s, burst, longest_wait_s=1e9, clock=clock)
    turns = []
    for gap_s in gaps_s:
        clock.now_s += gap_s
        turns.append(clock.now_s + bucket.reserve(READ))
    for first, last in itertools.combinations(range(len(turns)), 2):
        allowed = burst + (turns[last] - turns[first]) * rate_per_s
        assert last - first + 1 <= allowed + 1e-6


@pytest.mark.parametrize("wrong", [(0.0, 1), (-1.0, 1), (1.0, 0)])
def test_a_bucket_without_room_is_refused(wrong: tuple[float, int]) -> None:
    with pytest.raises(ValueError):
        TokenBucket(*wrong)


class Ledger:
    """A budget that notes who asks, and refuses from some turn on."""

    def __init__(self, turns: int = 1000) -> None:
        self.turns = turns
        self.seen: list[object] = []

    def acquire_blocking(self, operation: Operation) -> None:
        self.seen.append(operation.name)
        if len(self.seen) > self.turns:
            raise RateLimited(operation.name, None, "spent", retry_after_s=0.1)

    async def acquire(self, operation: Operation) -> None:
        self.acquire_blocking(operation)

    def give_back(self, operation: Operation) -> None:
        self.seen.append("back")

    def slow_down(self, retry_after_s: float | None) -> None:
        self.seen.append(retry_after_s)

    def observe(self, seen: RateLimit) -> None:
        self.seen.append(seen)


def test_the_budget_is_asked_before_each_send_and_told_of_each_429(through: Caller) -> None:
    budget = Ledger()
    tenant = Tenant([ok(status=503), httpx2.Response(429, headers={"Retry-After": "2"}), ok(OK)])
    through(tenant, lambda c: c.notifications.read("7"), budget=budget)
    assert budget.seen == ["notifications.read", "notifications.read", 2.0, "notifications.read"]


def test_a_call_that_never_left_leaves_its_turn_to_another(through: Caller) -> None:
    budget = Ledger()
    tenant = Tenant([httpx2.ConnectError("refused"), httpx2.ReadError("reset"), ok(OK)])
    through(tenant, lambda c: c.notifications.read("7"), budget=budget)
    asked = "notifications.read"
    assert budget.seen == [asked, "back", asked, asked]


def test_the_budget_is_told_what_each_answer_says_about_the_limit(through: Caller) -> None:
    budget = Ledger()
    limit = {"X-RateLimit-Limit": "60", "X-RateLimit-Remaining": "59"}
    limited = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "2"}
    tenant = Tenant([httpx2.Response(429, headers=limited), ok(OK, **limit)])
    through(tenant, lambda c: c.notifications.read("7"), budget=budget)
    assert budget.seen == [
        "notifications.read",
        RateLimit(None, 0, 2.0),
        2.0,
        "notifications.read",
        RateLimit(60, 59, None),
    ]


def test_what_the_budget_refuses_is_not_sent_and_not_waited_for(through: Caller) -> None:
    gate, tenant = Journal(), Tenant([])
    with pytest.raises(RateLimited, match="spent"):
        through(tenant, lambda c: c.notifications.read("7"), gate, budget=Ledger(turns=0))
    assert (through.pauses, gate.seen) == ([], [])


def test_one_bucket_serves_both_clients_and_all_threads() -> None:
    """Three turns, four callers of three kinds: exactly one of them is refused."""
    bucket = TokenBucket(rate_per_s=0.001, burst=3, longest_wait_s=0.0)
    outcomes: list[str] = []

    def note(call: Callable[[], Any]) -> None:
        try:
            call()
            outcomes.append("sent")
        except RateLimited:
            outcomes.append("refused")

    async def ask_async() -> None:
        transport = httpx2.MockTransport(lambda _: ok(OK))
        async with AsyncClient(URL, TOKEN, transport=transport, budget=bucket) as client:
            await client.notifications.read("7")

    with Client(URL, TOKEN, transport=httpx2.MockTransport(lambda _: ok(OK)), budget=bucket) as client:
        plain = [lambda: client.notifications.read("7"), lambda: client.gated(None).notifications.read("7")]
        calls = [*plain, lambda: asyncio.run(ask_async()), lambda: asyncio.run(ask_async())]
        threads = [threading.Thread(target=note, args=(call,)) for call in calls]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(outcomes) == ["refused", "sent", "sent", "sent"]
