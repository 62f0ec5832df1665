"""`status`: one screen about a deployment, from what the log knows; it reads no event."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import click

from commands import options, prepare
from commands.attention import needs
from commands.options import on_log
from commands.output import print_fields, print_json, print_line, print_table
from commands.spans import at_most, counted, span
from commands.status_document import document, gaps_lately, subscribed_types
from eventlog.clock import rfc3339

if TYPE_CHECKING:
    from eventlog.inspection.overview import Overview
    from eventlog.registry import HandlerPosition

_HEADS = [
    "handler",
    "state",
    "waiting",
    "oldest",
    "failing",
    "retrying",
    "open",
    "dead",
    "per s",
    "served by",
]
_MIB = 1 << 20
_MOST_KEYS = 5


@click.command()
@options.as_json
def status(as_json: bool) -> None:
    """Show the state of the deployment on one screen, and what needs a person now.

    It shows what the log knows, so it needs Redis and not the tenant; `doctor` checks both. The exit code is 3 when
    Redis does not answer.
    """
    from eventlog.inspection.overview import overview

    settings = prepare(logs=False)
    found = on_log(settings, partial(overview, keep=settings.keep))
    if as_json:
        print_json(document(found))
        return
    print_fields(fields(found))
    if found.handlers:
        print_line("")
        print_table(_HEADS, [_cells(found, handler) for handler in found.handlers])
    print_line("")
    urgent = needs(found)
    print_line("needs attention:" if urgent else "nothing needs attention")
    for line in urgent:
        print_line(f"    {line}")


def fields(found: Overview) -> dict[str, object]:
    """Return the upper part of the screen."""
    return {
        "tenant": found.claimed.get("url") or None,
        "registration": _registration(found),
        "last event": _last_event(found),
        "keys": _keys(found),
        "accepted": _accepted(found),
        "refused": ", ".join(f"{reason} {count:,}" for reason, count in found.refused.items())
        or "none in 24 hours",
        "receivers": f"{len(found.receivers)} alive",
        "workers": [
            f"{process.label} serves {', '.join(sorted(process.parts)) or 'nothing'}"
            for process in found.processes
        ]
        or "none alive",
        "gaps": _gaps(found),
        "quarantine": counted(found.quarantined, "body", "bodies"),
        "redis": _redis(found),
        "log": _log(found),
    }


def _cells(found: Overview, handler: HandlerPosition) -> tuple[object, ...]:
    return (
        handler.name,
        _state(found, handler),
        at_most(f"{handler.waiting:,}", handler.waiting_is_exact),
        None
        if handler.oldest_age_s is None
        else at_most(span(handler.oldest_age_s), handler.oldest_is_exact),
        _failing(found, handler),
        found.retrying.get(handler.name, 0),
        handler.open,
        handler.dead,
        f"{found.per_s(handler.name):,.1f}",
        " ".join(found.served_by(handler.name)),
    )


def _state(found: Overview, handler: HandlerPosition) -> str:
    if handler.name in found.paused:
        return "paused"
    if not found.is_served(handler):
        return "faulty" if handler.name in found.faulty else "not served"
    return "held" if handler.name in found.away else "running"


def _failing(found: Overview, handler: HandlerPosition) -> str | None:
    """Return the share of the attempts of the last minutes that failed."""
    lately = found.attempts.get(handler.name)
    return None if lately is None or not lately.total else f"{lately.failed / lately.total:.0%}"


def _ago(found: Overview, at_ms: int) -> str:
    return f"{span(max(0, found.at_ms - at_ms) / 1000)} ago"


def _confirmed(found: Overview) -> str:
    known = found.registration
    if known.removed_ms is not None:
        return f"; removed on request, {_ago(found, known.removed_ms)}"
    if known.confirmed_ms is None:
        return "; AMPECO has not confirmed it"
    return f"; AMPECO confirmed it {_ago(found, known.confirmed_ms)}"


def _keys(found: Overview) -> str | None:
    used = sorted(found.keys.items(), key=lambda item: -item[1])
    return (
        ", ".join(f"{key_id} (last event {_ago(found, at_ms)})" for key_id, at_ms in used[:_MOST_KEYS])
        or None
    )


def _registration(found: Overview) -> str:
    if not found.subscription:
        return "none is recorded"
    key_id = found.subscription.get("key_id")
    signed = (f", signed with key {key_id}" if key_id else "") + _confirmed(found)
    types = counted(len(subscribed_types(found)), "type")
    return f"subscription {found.subscription.get('id', '?')} with {types}{signed}"


def _last_event(found: Overview) -> str:
    if found.newest_ms is None:
        return "none yet"
    return f"{rfc3339(found.newest_ms)}, {_ago(found, found.newest_ms)}"


def _accepted(found: Overview) -> str:
    from eventlog.rates import per_minute

    total = f"{found.samples[-1].accepted:,} since the log was made"
    lately, hour = per_minute(found.samples, 5), per_minute(found.samples, 60)
    if lately is None or hour is None:
        return f"{total}; the rate is known after a minute"
    return f"{lately:,.0f} per minute ({hour:,.0f} over the last hour), {total}"


def _gaps(found: Overview) -> str:
    lately = gaps_lately(found)
    if not lately:
        return "none in 24 hours"
    last = lately[-1]
    return f"{len(lately)} in 24 hours, the last from {rfc3339(last.from_ms)} to {rfc3339(last.to_ms)}"


def _redis(found: Overview) -> str:
    server = found.server
    kept = {True: "append-only file", False: "no append-only file", None: "file unknown"}[server.keeps_file]
    fsync = f" ({server.fsync})" if server.fsync and server.keeps_file else ""
    limit = f" of {server.max_memory / _MIB:,.0f} MiB" if server.max_memory else ", no maxmemory"
    memory = "" if server.used_memory is None else f", {server.used_memory / _MIB:,.0f} MiB in use{limit}"
    return f"{server.product}, {server.role}, {kept}{fsync}{memory}"


def _log(found: Overview) -> str:
    stands = found.standing
    if stands is None:
        return "not counted yet"
    oldest = ""
    if stands.oldest_ms is not None:
        oldest = f", oldest event {span(max(0, found.at_ms - stands.oldest_ms) / 1000)} old"
    return f"{stands.bytes / _MIB:,.0f} of {stands.max_bytes / _MIB:,.0f} MiB{oldest}"
