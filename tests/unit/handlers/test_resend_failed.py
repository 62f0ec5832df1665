"""The handler `resend-failed`: 15 minutes between two requests, and nothing that failed is left out."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest
import structlog

from ampeco.client import AsyncClient
from ampeco.errors import NoAnswer, RateLimited, ServerFault
from ampeco.repeating import RetryPolicy
from eventlog import gap_records
from handlers import Context, Event, Retry, Skip
from handlers.builtin.resend_failed import GIVE_UP_AFTER_S, INTERVAL, NEVER_SENT, Clock, resend_failed
from handlers.internal import GapClosed

HOOK = "https://us.example/webhooks/ampeco"
TEN = datetime(2026, 11, 24, 10, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


class World:
    """AMPECO, the ledger of once-only steps, and the time."""

    def __init__(self) -> None:
        self.now = TEN
        self.steps: dict[str, Any] = {}
        self.status: int | Exception = 202
        self.headers: dict[str, str] = {}
        self.refused_types: set[str] = set()
        self.subscription = "7"
        self.subscribed: list[str] = []
        self.requests: list[dict[str, Any]] = []

    async def once(self, step: str, call: Callable[[], Any], *, per: str = "event", **_: Any) -> Any:
        """A step is recorded when it was done, and only then."""
        step = f"{per} {step}"
        if step not in self.steps:
            result = call()
            self.steps[step] = json.dumps(await result if inspect.isawaitable(result) else result)
        return json.loads(self.steps[step])

    def answer(self, request: httpx2.Request) -> httpx2.Response:
        if request.method == "GET":
            ours = {
                "id": self.subscription,
                "via": "webhook",
                "notifications": self.subscribed,
                "webhook": {"callbackUrl": HOOK},
            }
            return httpx2.Response(200, json={"data": [ours] if self.subscription else []})
        assert request.url.path == f"/public-api/actions/notifications/v1.0/{self.subscription}/resend"
        self.requests.append(json.loads(request.content))
        if isinstance(self.status, Exception):
            raise self.status
        asked = self.requests[-1]["notifications"]
        if refused := [at for at, name in enumerate(asked) if name in self.refused_types]:
            errors = {f"notifications.{at}": ["is disabled"] for at in refused}
            return httpx2.Response(422, json={"message": "no", "errors": errors})
        return httpx2.Response(self.status, json={"message": "no"}, headers=self.headers)

    def handle(
        self,
        to: datetime,
        *types: str,
        minutes: int = 1,
        id: str = "",
        callback_url: str | None = HOOK,
        reason: str = "no-receiver",
    ) -> None:
        """Let the handler run, now, on a gap that was closed at a time."""
        gap = GapClosed.model_validate(
            {
                "reason": reason,
                "from": to - minutes * MINUTE,
                "to": to,
                "types": types or ("A", "B"),
                "callbackUrl": callback_url,
            }
        )
        event = Event(id or f"0-{to}", "receiver.gap.closed", "receiver:door", to, None, gap, b"{}")
        asyncio.run(self._run(event))

    async def _run(self, event: Event[GapClosed]) -> None:
        transport = httpx2.MockTransport(self.answer)
        once = RetryPolicy(attempts=1)
        async with AsyncClient("https://tenant.example", "token", transport=transport, retry=once) as client:
            clock: Clock = lambda: self.now  # noqa: E731
            context: Context[None, Clock] = Context(
                ampeco=lambda: client,
                settings=None,
                state=clock,
                attempt=1,
                max_attempts=9,
                log=structlog.get_logger,
                once=self.once,
            )
            await resend_failed.function(event, context)

    def waits(self, to: datetime, *types: str, **more: Any) -> Retry:
        """The handler wants to wait, without an attempt being spent."""
        with pytest.raises(Retry) as caught:
            self.handle(to, *types, **more)
        assert caught.value.counts is False
        return caught.value


@pytest.fixture
def world() -> World:
    return World()


def test_asks_for_all_that_failed_from_the_start_of_the_gap_until_now(world: World) -> None:
    world.now = TEN + 3 * MINUTE
    world.handle(TEN, "A", "B")
    (asked,) = world.requests
    assert asked["notifications"] == ["A", "B"]
    assert datetime.fromisoformat(asked["startTime"]) == TEN - 3 * MINUTE
    assert datetime.fromisoformat(asked["endTime"]) == TEN + 5 * MINUTE


@pytest.mark.parametrize("status", [409, 422, 429])
def test_a_refusal_is_waited_out_without_an_attempt_and_then_tried_again(world: World, status: int) -> None:
    world.status = status
    waiting = world.waits(TEN)
    assert waiting.after_s == INTERVAL.total_seconds() >= 15 * 60
    assert str(status) in waiting.reason
    world.now += INTERVAL
    world.status = 202
    world.handle(TEN)
    assert len(world.requests) == 2


@pytest.mark.parametrize("status", [409, 422, 429])
def test_a_refusal_after_fifteen_minutes_of_silence_is_not_about_time(world: World, status: int) -> None:
    world.status = status
    assert "too early for a resend, or not allowed" in world.waits(TEN).reason
    world.now += INTERVAL
    waiting = world.waits(TEN)
    assert "disabled at AMPECO" in waiting.reason
    assert waiting.after_s == INTERVAL.total_seconds()
    world.now += INTERVAL
    world.status = 202  # somebody has enabled it
    world.handle(TEN)
    assert len(world.requests) == 3


def test_a_pause_that_the_answer_names_means_too_early_and_is_kept(world: World) -> None:
    world.status, world.headers = 429, {"retry-after": "240"}
    for _ in range(5):
        waiting = world.waits(TEN)
        assert (waiting.reason, waiting.after_s) == ("AMPECO answers 429: too early for a resend", 240)
        world.now += 4 * MINUTE
    world.status = 202
    world.handle(TEN)


def test_types_that_ampeco_refuses_are_left_out_and_the_others_asked_for(world: World) -> None:
    world.refused_types = {"B"}
    world.handle(TEN, "A", "B", "C")
    assert [asked["notifications"] for asked in world.requests] == [["A", "B", "C"], ["A", "C"]]
    world.now += INTERVAL
    world.handle(TEN, "A", "B")  # asked for, as far as AMPECO lets
    assert len(world.requests) == 2


def test_when_all_types_are_refused_it_waits(world: World) -> None:
    world.refused_types = {"A", "B"}
    assert "422" in world.waits(TEN, "A", "B").reason
    assert len(world.requests) == 1


def test_one_request_asks_for_all_that_is_subscribed_so_that_later_gaps_need_none(world: World) -> None:
    world.subscribed = ["A", "C"]
    world.handle(TEN, "A", "B")
    assert world.requests[0]["notifications"] == ["A", "B", "C"]
    world.now += 3 * MINUTE
    world.waits(TEN + 2 * MINUTE, "C")
    world.now = TEN + INTERVAL
    world.handle(TEN + 2 * MINUTE, "C")
    world.handle(TEN + 9 * MINUTE, "A", "C")
    assert [asked["notifications"] for asked in world.requests[1:]] == [["C", "A"]]


def test_what_no_resend_brings_is_not_asked_for(world: World) -> None:
    with pytest.raises(Skip, match="resend brings nothing"):
        world.handle(TEN, reason="not-subscribed")
    assert world.requests == []


def test_it_gives_up_after_a_day() -> None:
    assert resend_failed.not_yet_for_s == GIVE_UP_AFTER_S == 86_400


@pytest.mark.parametrize("seconds_into_a_slot", [0, 1, 400, 929])
def test_between_two_requests_are_fifteen_minutes_wherever_the_clock_stands(
    world: World, seconds_into_a_slot: int
) -> None:
    slot_s = INTERVAL.total_seconds()
    world.now = datetime.fromtimestamp(1_900_000 * slot_s + seconds_into_a_slot, UTC)
    first = world.now
    world.handle(first)
    for _ in range(5):
        world.now += 3 * MINUTE
        waiting = world.waits(first + MINUTE)
        assert waiting.after_s is not None
        assert world.now + timedelta(seconds=waiting.after_s) == first + INTERVAL
    assert len(world.requests) == 1
    world.now = first + INTERVAL
    world.handle(first + MINUTE)
    assert len(world.requests) == 2


def test_a_gap_that_closed_while_another_waited_needs_no_request_of_its_own(world: World) -> None:
    world.handle(TEN)
    world.now = TEN + 5 * MINUTE
    world.waits(TEN + 4 * MINUTE)
    world.now = TEN + INTERVAL
    world.handle(TEN + 4 * MINUTE)
    world.handle(TEN + 9 * MINUTE)
    assert len(world.requests) == 2
    world.waits(TEN + 10 * MINUTE, "A", "another type")
    world.waits(TEN + 20 * MINUTE)
    world.waits(TEN + 9 * MINUTE, minutes=60)
    assert len(world.requests) == 2


def test_an_event_that_is_handled_again_does_not_ask_again(world: World) -> None:
    world.handle(TEN)
    world.handle(TEN)
    world.now += INTERVAL
    world.handle(TEN)
    assert len(world.requests) == 1


def test_another_notification_subscription_has_fifteen_minutes_of_its_own(world: World) -> None:
    world.handle(TEN)
    world.subscription = "8"
    world.handle(TEN + MINUTE)
    assert len(world.requests) == 2


def test_a_slot_that_a_fast_clock_has_closed_costs_no_resend(world: World) -> None:
    world.now = TEN + INTERVAL
    world.handle(TEN)
    world.now = TEN  # a worker whose clock is behind
    world.waits(TEN - MINUTE, minutes=60)
    world.now = TEN + 2 * INTERVAL
    world.handle(TEN - MINUTE, minutes=60)
    assert len(world.requests) == 2


@pytest.mark.parametrize(
    ("answer", "error"), [(503, ServerFault), (httpx2.ReadTimeout("slow"), NoAnswer), (404, Retry)]
)
def test_what_is_no_question_of_time_goes_the_usual_way(
    world: World, answer: int | Exception, error: type[Exception]
) -> None:
    world.status = answer
    with pytest.raises(error) as caught:
        world.handle(TEN)
    assert getattr(caught.value, "counts", True)


def test_our_own_budget_is_no_answer_of_ampeco(world: World) -> None:
    world.status = RateLimited("notifications.resend-failed", None, "", retry_after_s=2.0)
    with pytest.raises(RateLimited):
        world.handle(TEN)


def test_without_a_registration_or_types_nothing_is_asked(world: World) -> None:
    with pytest.raises(Skip):
        world.handle(TEN, callback_url=None)
    world.subscription = ""
    with pytest.raises(Retry):
        world.handle(TEN)
    assert world.requests == []


def test_the_log_and_the_handler_agree_on_gaps_without_a_failed_delivery():
    """The handler cannot import the log."""
    assert NEVER_SENT == gap_records.NEVER_SENT
