"""`audit`: who changed what by hand, and with which plan."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from commands import options, prepare
from commands.options import on_log
from commands.output import json_text, print_json, print_table
from eventlog.clock import rfc3339
from eventlog.ids import STREAM_ID

if TYPE_CHECKING:
    from eventlog.audit import Act


@click.group()
def audit() -> None:
    """Show who changed what by hand."""


@audit.command("list")
@options.since_until("Done")
@options.limit
@options.before
@options.as_json
def list_(since_ms: int | None, until_ms: int | None, limit: int, before: str | None, as_json: bool) -> None:
    """List what operators changed, newest first."""
    from eventlog.audit import newest

    if before is not None and not STREAM_ID.fullmatch(before):
        raise click.BadParameter(f"{before!r} is not the id of an act; `audit list` shows the ids")
    found = on_log(
        prepare(logs=False),
        lambda log: newest(log, limit=limit, before=before, since_ms=since_ms, until_ms=until_ms),
    )
    if as_json:
        print_json([_row(act) for act in found])
    else:
        heads = ("id", "at", "user", "host", "token", "what", "count", "plan")
        print_table(heads, map(_cells, found))


def _row(act: Act) -> dict[str, Any]:
    return {
        "id": act.id,
        "at": rfc3339(act.at_ms),
        "user": act.user,
        "host": act.host,
        "via": act.via,
        "token_id": act.token or None,
        "what": act.what,
        "plan": dict(act.plan),
        "count": act.count,
        "done": act.done,
    }


def _cells(act: Act) -> tuple[object, ...]:
    plan = " ".join(
        f"{name}={value if isinstance(value, str) else json_text(value)}" for name, value in act.plan.items()
    )
    count: object = act.done if act.count is None else act.count
    if act.done is not None and act.count not in (None, act.done):
        count = f"{act.done} of {act.count}"
    return act.id, rfc3339(act.at_ms), act.user, act.host, act.token or None, act.what, count, plan
