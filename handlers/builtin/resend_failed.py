"""Asks AMPECO for what it could not deliver while the receiver was not reachable.

AMPECO resends only what it has recorded as failed, at most once per 15 minutes and notification subscription. Its
answers 409, 422 and 429 do not say whether they mean "too early" or "not allowed". So each is waited out, and
given up after a day (Source: published contract v3.110.0, Actions / Resend Failed Notifications).

All gaps have one entity key, so they are handled one at a time, in any worker. The rule of 15 minutes is kept in
the ledger of once-only steps, which outlives workers. Time is cut into slots of that length. The step of a slot
records the one request that was made in it, and no request is made when the slot before holds one that is too
recent. A request asks for everything from the start of its gap until now: gaps that closed while it waited need
none of their own.

A request whose outcome is unknown is made again: at worst AMPECO says "too early", and what arrives twice is known
as a duplicate.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from ampeco.errors import ApiError, NotFound
from handlers import Context, Event, Retry, Skip, handler
from handlers.internal import GapClosed

INTERVAL = timedelta(minutes=15, seconds=30)
"""AMPECO's 15 minutes, and more than a call takes or clocks differ."""

MARGIN = timedelta(minutes=2)
GIVE_UP_AFTER_S = 86_400.0
TOO_EARLY = frozenset({409, 422, 429})

_UNUSED: dict[str, Any] = {}  # the record of a slot in which nothing was asked

Clock = Callable[[], datetime]


@asynccontextmanager
async def clock() -> AsyncIterator[Clock]:
    """The time now, aware UTC."""
    yield lambda: datetime.now(UTC)


@handler(
    "resend-failed",
    calls=["notifications.resend-failed"],
    lifespan=clock,
    not_yet_for_s=GIVE_UP_AFTER_S,
    dry_run=True,  # it does nothing by itself
)
async def resend_failed(event: Event[GapClosed], ctx: Context[None, Clock]) -> None:
    """Resend what failed since the start of the gap, with a margin for clocks that differ."""
    gap = event.payload
    if gap.callback_url is None:
        raise Skip("this service does not register itself, so it does not know its notification subscription")
    if not gap.types:
        raise Skip("nothing was subscribed")
    subscription_id = await _our_subscription(ctx, gap.callback_url)
    now = ctx.state()
    slot = int(now.timestamp() // INTERVAL.total_seconds())

    async def ask() -> dict[str, Any]:
        await ctx.ampeco.actions.notifications.resend_failed(
            subscription_id, notifications=gap.types, start_time=gap.from_at - MARGIN, end_time=now + MARGIN
        )
        return {
            "by": event.id,
            "types": list(gap.types),
            "from": gap.from_at.isoformat(),
            "until": now.isoformat(),
        }

    async def asked_in(number: int, call: Callable[[], Any], **dry: Any) -> dict[str, Any]:
        step = f"resend {subscription_id} {number}"
        found: dict[str, Any] = await ctx.once(step, call, per="entity", on_uncertain="retry", **dry)
        return found

    before = await asked_in(slot - 1, lambda: _UNUSED, dry=_UNUSED)
    if before:
        if _is_answered_by(before, event):
            return
        if _ready_at(before) > now:
            raise _later("AMPECO was asked for a resend less than 15 minutes ago", _ready_at(before) - now)
    try:
        asked = await asked_in(slot, ask)
    except ApiError as error:
        if error.status in TOO_EARLY:
            reason = f"AMPECO answers {error.status}: too early for a resend, or not allowed"
            raise _later(reason, INTERVAL) from error
        if isinstance(error, NotFound):
            raise Retry("the notification subscription is gone") from error
        raise
    if asked == _UNUSED:  # noted by a worker whose clock is ahead
        raise _later("the clocks of the workers differ", MARGIN)
    if not _is_answered_by(asked, event):
        raise _later("AMPECO was asked for a resend less than 15 minutes ago", _ready_at(asked) - now)


def _is_answered_by(asked: dict[str, Any], event: Event[GapClosed]) -> bool:
    """Whether a request was this event's own, or asked for all that this gap may have cost."""
    gap = event.payload
    return asked["by"] == event.id or (
        set(gap.types) <= set(asked["types"])
        and datetime.fromisoformat(asked["from"]) <= gap.from_at
        and gap.to_at <= datetime.fromisoformat(asked["until"])
    )


def _ready_at(asked: dict[str, Any]) -> datetime:
    """From when on AMPECO may be asked again."""
    return datetime.fromisoformat(asked["until"]) + INTERVAL


def _later(reason: str, wait: timedelta) -> Retry:
    return Retry(reason, after_s=max(1.0, wait.total_seconds()), counts=False)


async def _our_subscription(ctx: Context[None, Clock], callback_url: str) -> str:
    for subscription in await ctx.ampeco.notifications.list():
        if subscription.via == "webhook" and subscription.callback_url == callback_url:
            return subscription.id
    raise Retry("no notification subscription delivers to this service yet")
