"""`gaps`: list the times of which events may be missing, and ask AMPECO to send again what failed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

from commands import options, prepare
from commands.acts import acting
from commands.options import Moment, on_log
from commands.output import print_json, print_line, print_unchanged
from commands.resend_request import ask_for_resend, client_of, failure, plan_resend
from commands.spans import counted
from commands.type_names import misspelled
from eventlog.clock import now_ms, rfc3339

if TYPE_CHECKING:
    from eventlog.inspection.gaps import Gap
    from eventlog.inspection.resends import Resend
    from eventlog.log import EventLog
    from receiver.settings import Settings


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
    from ampeco.errors import ApiError

    async with client_of(settings) as client:
        try:
            plan = await plan_resend(log, settings, client, span, types)
            if yes:
                async with acting(log, "gaps resend", plan, len(plan["types"])):
                    await ask_for_resend(client, plan)
        except ApiError as error:
            raise failure(error) from error
    return plan


def _lines(gap: Gap, resend: Resend | None) -> Iterator[str]:
    seconds = (gap.to_ms - gap.from_ms) / 1000
    yield f"{rfc3339(gap.from_ms)} to {rfc3339(gap.to_ms)} ({seconds:.0f} s)  {gap.reason}  {gap.state}"
    if gap.events is not None:
        yield f"    missing: at least {counted(gap.events, 'event')}"
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
