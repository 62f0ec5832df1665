"""`gaps`: list the times of which events may be missing, and ask AMPECO to send again what failed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from commands import options, prepare
from commands.acts import acting
from commands.options import Moment, on_log
from commands.output import print_json, print_line, print_unchanged
from commands.type_names import misspelled
from eventlog.clock import now_ms, rfc3339

if TYPE_CHECKING:
    from ampeco.client import AsyncClient
    from ampeco.errors import ApiError
    from ampeco.models.notification_subscription import NotificationSubscription
    from eventlog.inspection.gaps import Gap
    from eventlog.inspection.resends import Resend
    from eventlog.log import EventLog
    from receiver.settings import Settings

_TOO_EARLY = frozenset({409, 422, 429})


@click.group()
def gaps() -> None:
    """List gaps, and ask AMPECO to send again what failed."""


@gaps.command("list")
@options.limit
@options.as_json
def list_(limit: int, as_json: bool) -> None:
    """List gaps, newest first: when, why, and what is proven of each type."""

    async def read(log: EventLog) -> list[tuple[Gap, Resend | None]]:
        from eventlog.inspection.gaps import recorded_gaps
        from eventlog.inspection.resends import resend_of, resender

        newest = (await recorded_gaps(log))[: -limit - 1 : -1]
        asks = await resender(log)
        return [
            (gap, None if gap.is_final else await resend_of(log, gap, asks, now_ms=now_ms()))
            for gap in newest
        ]

    found = on_log(prepare(logs=False), read)
    if as_json:
        print_json([_document(gap, resend) for gap, resend in found])
        return
    if not found:
        print_line("no gap is recorded")
    for gap, resend in found:
        for line in _lines(gap, resend):
            print_line(line)


@gaps.command()
@click.option(
    "--from", "from_ms", type=Moment(), metavar="TIME", required=True, help="RFC 3339, or '2h ago'."
)
@click.option("--to", "to_ms", type=Moment(), metavar="TIME", required=True, help="As --from.")
@click.option("--type", "types", multiple=True, metavar="TYPE", help="Only this type; unset: the subscribed.")
@options.confirm
@options.as_json
def resend(from_ms: int, to_ms: int, types: Sequence[str], yes: bool, as_json: bool) -> None:
    """Ask AMPECO to send again what failed between two times.

    AMPECO accepts one request in 15 minutes for a notification subscription.
    """
    if to_ms < from_ms:
        raise click.UsageError("--to lies before --from.")
    for name in types:
        _check_type(name)
    settings = prepare(need=("AWR_TENANT_URL", "AWR_API_TOKEN"), logs=False)
    plan = on_log(settings, lambda log: _resend(log, settings, (from_ms, to_ms), types, yes))
    if as_json:
        print_json({"plan": plan, "done": yes, "result": {"accepted": True} if yes else None})
        return
    print_line(f"what failed from {plan['from']} to {plan['to']} at notification subscription {plan['id']}:")
    for name in plan["types"]:
        print_line(f"  {name}{misspelled(name, surely=True)}")
    if yes:
        print_line("AMPECO accepted the request, and sends what it recorded as failed")
    else:
        print_unchanged("nothing was asked for; add --yes to ask for it")


def _check_type(name: str) -> None:
    from ampeco.names import fault_of_type

    if fault := fault_of_type(name):
        raise click.UsageError(f"--type {fault}.")


async def _resend(
    log: EventLog, settings: Settings, span: tuple[int, int], types: Sequence[str], yes: bool
) -> dict[str, Any]:
    """Make the plan, and carry it out if `yes`."""
    from ampeco.client import AsyncClient
    from ampeco.errors import ApiError

    assert settings.tenant_url is not None  # noqa: S101 - the caller demands both
    assert settings.api_token is not None  # noqa: S101
    async with AsyncClient(settings.tenant_url, settings.api_token.get_secret_value()) as client:
        try:
            ours = await _ours(log, settings, client)
            plan = {
                "id": ours.id,
                "from": rfc3339(span[0]),
                "to": rfc3339(span[1]),
                "types": list(dict.fromkeys(types)) or list(ours.notifications),
            }
            if yes:
                async with acting(log, "gaps resend", plan, len(plan["types"])):
                    await _ask(client, plan)
        except ApiError as error:
            raise _failure(error) from error
    return plan


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


async def _ask(client: AsyncClient, plan: dict[str, Any]) -> None:
    start, end = (datetime.fromisoformat(plan[name]).astimezone(UTC) for name in ("from", "to"))
    await client.actions.notifications.resend_failed(
        plan["id"], notifications=plan["types"], start_time=start, end_time=end
    )


def _failure(error: ApiError) -> Exception:
    """Return what ends the command: in words of its own where AMPECO refused."""
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


def _lines(gap: Gap, resend: Resend | None) -> Iterator[str]:
    seconds = (gap.to_ms - gap.from_ms) / 1000
    yield f"{rfc3339(gap.from_ms)} to {rfc3339(gap.to_ms)} ({seconds:.0f} s)  {gap.reason}  {gap.state}"
    if gap.events is not None:
        yield f"    at least {gap.events:,} events are missing"
    if resend is not None:
        yield f"    resend: {resend.words}"
    if gap.state == "open" and gap.waits:
        yield f"    waits for: {gap.waits}"
    for name, check in gap.checks.items():
        made = f", {check.reconstructed:,} reconstructed" if check.reconstructed else ""
        yield f"    {name}: {check.changed:,} {_noun(name)} changed, {check.seen:,} seen{made}"
    by_reason: dict[str, list[str]] = {}
    for name, why in gap.unproven.items():
        by_reason.setdefault(why, []).append(name)
    for why, names in by_reason.items():
        yield f"    unproven ({why}): {', '.join(sorted(names))}"


def _noun(type: str) -> str:
    from ampeco.reconstruction import SOURCES

    return SOURCES[type].resource.replace("-", " ") if type in SOURCES else "resources"


def _document(gap: Gap, resend: Resend | None) -> dict[str, Any]:
    fate = resend.fate if resend is not None else None
    return {
        "id": gap.id,
        "from": rfc3339(gap.from_ms),
        "to": rfc3339(gap.to_ms),
        "reason": gap.reason,
        "types": list(gap.types),
        "events_at_least": gap.events,
        "event": gap.event_id,
        "state": gap.state,
        "waits_for": gap.waits or None,
        "resend": None
        if resend is None
        else {
            "state": None if fate is None else fate.state,
            "words": resend.words,
            "at": None if fate is None or fate.at_ms is None else rfc3339(fate.at_ms),
        },
        "proven": [{"type": name, **check._asdict()} for name, check in sorted(gap.checks.items())],
        "unproven": [{"type": name, "why": why} for name, why in sorted(gap.unproven.items())],
        "done_at": None if gap.done_ms is None else rfc3339(gap.done_ms),
    }
