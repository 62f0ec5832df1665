"""Asks AMPECO for what it could not deliver while the door was shut.

AMPECO resends only what it has recorded as failed, at most once per 15 minutes and notification subscription,
and does not document what it answers when asked too early (Source: Actions / Resend Failed Notifications).
So a request whose outcome is unknown is simply made again: at worst AMPECO says "too early", and what arrives twice
is known as a duplicate.
"""

from __future__ import annotations

from datetime import timedelta

from ampeco.errors import Invalid, NotFound, RateLimited
from handlers import Context, Event, GiveUp, Retry, Skip, handler
from handlers.internal import GapClosed

INTERVAL_S = 900.0
MARGIN = timedelta(minutes=2)


@handler("resend-failed", calls=["notifications.resend-failed"])
async def resend_failed(event: Event[GapClosed], ctx: Context) -> None:
    """Resend the window of the gap, with a margin for clocks that differ."""
    gap = event.payload
    if gap.callback_url is None:
        raise Skip("this service does not register itself, so it does not know its notification subscription")
    if not gap.types:
        raise Skip("nothing was subscribed")
    subscription_id = await _our_subscription(ctx, gap.callback_url)

    async def resend() -> None:
        await ctx.ampeco.actions.notifications.resend_failed(
            subscription_id,
            notifications=gap.types,
            start_time=gap.from_at - MARGIN,
            end_time=gap.to_at + MARGIN,
        )

    try:
        await ctx.once("resend", resend, on_uncertain="retry")
    except RateLimited as error:
        raise Retry("too early", after_s=error.retry_after_s or INTERVAL_S, counts=False) from error
    except Invalid as error:
        # AMPECO may say "too early" as a plain 422; one that names a field means that our request is wrong.
        if error.errors:
            raise GiveUp("AMPECO refuses the request") from error
        raise Retry("too early, presumably", after_s=INTERVAL_S, counts=False) from error
    except NotFound as error:
        raise Retry("the notification subscription is gone") from error


async def _our_subscription(ctx: Context, callback_url: str) -> str:
    for subscription in await ctx.ampeco.notifications.list():
        if subscription.via == "webhook" and subscription.callback_url == callback_url:
            return subscription.id
    raise Retry("no notification subscription delivers to this service yet")
