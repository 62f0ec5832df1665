"""Asks AMPECO to send again what failed between two times: the plan, the request, and what refuses it, in words."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from eventlog.clock import rfc3339

if TYPE_CHECKING:
    from ampeco.client import AsyncClient
    from ampeco.errors import ApiError
    from ampeco.models.notification_subscription import NotificationSubscription
    from eventlog.log import EventLog
    from receiver.settings import Settings

_TOO_EARLY = frozenset({409, 422, 429})


def client_of(settings: Settings) -> AsyncClient:
    """Return a client for settings that name a tenant and an API token; the caller closes it."""
    from ampeco.client import AsyncClient

    assert settings.tenant_url is not None  # noqa: S101 - the caller demands both
    assert settings.api_token is not None  # noqa: S101
    return AsyncClient(settings.tenant_url, settings.api_token.get_secret_value())


async def plan_resend(
    log: EventLog, settings: Settings, client: AsyncClient, span: tuple[int, int], types: Sequence[str]
) -> dict[str, Any]:
    """Return the plan of a request, as the command prints it.

    Args:
        span: from and to, in Unix ms.
        types: empty for all that are subscribed.
    """
    ours = await _ours(log, settings, client)
    return {
        "id": ours.id,
        "from": rfc3339(span[0]),
        "to": rfc3339(span[1]),
        "types": list(dict.fromkeys(types)) or list(ours.notifications),
    }


async def ask_for_resend(client: AsyncClient, plan: dict[str, Any]) -> None:
    """Send the request of a plan."""
    start, end = (datetime.fromisoformat(plan[name]).astimezone(UTC) for name in ("from", "to"))
    await client.actions.notifications.resend_failed(
        plan["id"], notifications=plan["types"], start_time=start, end_time=end
    )


def failure(error: ApiError) -> Exception:
    """Return the error that ends the command, with a text of ours where AMPECO refused."""
    from ampeco.errors import Invalid, Unreachable

    if isinstance(error, Unreachable):
        return error
    if error.operation != "notifications.resend-failed" or error.status not in _TOO_EARLY:
        return click.ClickException(str(error))
    said = f"AMPECO answers {error.status}"
    if isinstance(error, Invalid) and error.errors:
        return click.ClickException(f"{said} and names {', '.join(sorted(error.errors))}: {error.message}")
    if error.retry_after_s:
        wait = f"try again in {error.retry_after_s:.0f} s"
        return click.ClickException(f"{said}: too early, it accepts one request in 15 minutes; {wait}")
    return click.ClickException(
        f"{said} ({error.message}): too early (it accepts one request in 15 minutes), or the notification "
        "subscription is disabled there; try again after 15 minutes"
    )


async def _ours(log: EventLog, settings: Settings, client: AsyncClient) -> NotificationSubscription:
    """Find our notification subscription at AMPECO: the one that the log remembers, else one for our URL."""
    from eventlog.subscription import SubscriptionStore
    from receiver.errors import SettingsError
    from receiver.notification_api import NotificationApi
    from receiver.registration import same_url

    remembered = await SubscriptionStore(log).read()
    urls = [url for url in (remembered.get("callback_url"), settings.callback_url) if url]
    if not urls:
        raise SettingsError(
            "AWR_PUBLIC_URL",
            "is not set, and the log remembers no notification subscription",
            "set it, so that ours can be found at AMPECO",
        )
    listed = [one for one in await NotificationApi({"AWR_API_TOKEN": client}).list() if one.via == "webhook"]
    for one in listed:
        if one.id == remembered.get("id"):
            return one
    for one in listed:
        if any(same_url(one.callback_url, url) for url in urls):
            return one
    raise click.ClickException(f"no notification subscription at AMPECO delivers to {' or '.join(urls)}")
