"""Asks AMPECO for what it could not deliver while the receiver was not reachable.

AMPECO resends only what it has recorded as failed, at most once per 15 minutes and notification subscription. Its
answers 409, 422 and 429 do not say whether they mean "too early" or "not allowed" (Source: published contract
v3.110.0, Actions / Resend Failed Notifications). So the handler waits after each of them, and gives up after a day. A
pause that the answer names means "too early". A refusal that comes again after 15 minutes without a request of ours
means that the notification subscription is probably disabled. Types that a 422 names are left out, and the others are
asked for.

All gaps have one entity key, so they are handled one at a time, in any worker. The rule of 15 minutes is kept in
the ledger of once-only steps, which outlives workers. Time is cut into slots of that length. The step of a slot
records the one request that was made in it. No request is made when the slot before holds one that is too recent. A
request asks for all subscribed types from the start of its gap until now. Gaps that closed while it waited need no
request of their own.

A request whose outcome is unknown is made again: at worst AMPECO says "too early", and what arrives twice is known
as a duplicate.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from ampeco.errors import ApiError, Invalid, NotFound
from ampeco.models.notification_subscription import NotificationSubscription
from handlers import Context, Event, Retry, Skip, handler
from handlers.internal import GapClosed

INTERVAL = timedelta(minutes=15, seconds=30)
"""AMPECO's 15 minutes, and more than a call takes or clocks differ."""

MARGIN = timedelta(minutes=2)
GIVE_UP_AFTER_S = 86_400.0
NEVER_SENT = frozenset({"not-subscribed", "redis-rolled-back"})
"""Reasons of gaps of which AMPECO has no failed delivery."""

TOO_EARLY = frozenset({409, 422, 429})

_PLACE = re.compile(r"notifications\.([0-9]{1,4})")
_UNUSED: dict[str, Any] = {}  # the record of a slot in which nothing was asked

Clock = Callable[[], datetime]


@asynccontextmanager
async def clock() -> AsyncIterator[Clock]:
    """Return the current time, aware UTC."""
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
    if gap.reason in NEVER_SENT:
        raise Skip("AMPECO has no failed delivery of this time, so a resend brings nothing")
    if gap.callback_url is None:
        raise Skip("this service does not register itself, so it does not know its notification subscription")
    if not gap.types:
        raise Skip("nothing was subscribed")
    ours = await _our_subscription(ctx, gap.callback_url)
    types = tuple(dict.fromkeys((*gap.types, *ours.notifications)))
    now = ctx.state()
    slot = int(now.timestamp() // INTERVAL.total_seconds())

    async def send(wanted: Sequence[str]) -> None:
        await ctx.ampeco.actions.notifications.resend_failed(
            ours.id, notifications=wanted, start_time=gap.from_at - MARGIN, end_time=now + MARGIN
        )

    async def ask() -> dict[str, Any]:
        left_out: frozenset[str] = frozenset()
        try:
            await send(types)
        except Invalid as error:
            left_out = _named_in(error, types)
            if not left_out or not left_out < {*types}:
                raise
            await send([name for name in types if name not in left_out])
            ctx.log.warning("resend.types_refused", types=sorted(left_out))
        return {
            "by": event.id,
            "types": list(types),
            "left_out": sorted(left_out),
            "from": gap.from_at.isoformat(),
            "until": now.isoformat(),
        }

    async def asked_in(number: int, call: Callable[[], Any], **dry: Any) -> dict[str, Any]:
        step = f"resend {ours.id} {number}"
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
            raise await _refused(ctx, error, now) from error
        if isinstance(error, NotFound):
            raise Retry("the notification subscription is gone") from error
        raise
    if asked == _UNUSED:  # noted by a worker whose clock is ahead
        raise _later("the clocks of the workers differ", MARGIN)
    if not _is_answered_by(asked, event):
        raise _later("AMPECO was asked for a resend less than 15 minutes ago", _ready_at(asked) - now)


def _is_answered_by(asked: dict[str, Any], event: Event[GapClosed]) -> bool:
    """Return whether a request was this event's own, or covered all that this gap may have cost."""
    gap = event.payload
    return asked["by"] == event.id or (
        set(gap.types) <= set(asked["types"])
        and datetime.fromisoformat(asked["from"]) <= gap.from_at
        and gap.to_at <= datetime.fromisoformat(asked["until"])
    )


def _ready_at(asked: dict[str, Any]) -> datetime:
    """Return from when on AMPECO may be asked again."""
    return datetime.fromisoformat(asked["until"]) + INTERVAL


def _later(reason: str, wait: timedelta) -> Retry:
    return Retry(reason, after_s=max(1.0, wait.total_seconds()), counts=False)


async def _refused(ctx: Context[None, Clock], error: ApiError, now: datetime) -> Retry:
    """Tell "too early" and "not allowed" apart, as far as AMPECO's answer and the time between two answers let."""
    first = await ctx.once("first refusal of the resend", now.isoformat, on_uncertain="retry")
    said = f"AMPECO answers {error.status}"
    if error.retry_after_s:
        pause = min(timedelta(seconds=error.retry_after_s), INTERVAL)
        return _later(f"{said}: too early for a resend", pause)
    if now - datetime.fromisoformat(first or now.isoformat()) < INTERVAL:
        return _later(f"{said}: too early for a resend, or not allowed", INTERVAL)
    return _later(
        f"{said} again after 15 minutes without a resend: not allowed. The notification subscription may be "
        "disabled at AMPECO; enable it there",
        INTERVAL,
    )


def _named_in(error: Invalid, types: Sequence[str]) -> frozenset[str]:
    """Return the types that a 422 names as its reason, by their places in the request."""
    found = (_PLACE.fullmatch(field) for field in error.errors)
    return frozenset(types[int(each[1])] for each in found if each and int(each[1]) < len(types))


async def _our_subscription(ctx: Context[None, Clock], callback_url: str) -> NotificationSubscription:
    for subscription in await ctx.ampeco.notifications.list():
        if subscription.via == "webhook" and subscription.callback_url == callback_url:
            return subscription
    raise Retry("no notification subscription delivers to this service yet")
