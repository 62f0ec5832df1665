"""`quarantine`: list verified bodies that could not be read, show them, retry them, or discard them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from commands import options, prepare
from commands.acts import acting
from commands.options import on_log
from commands.output import print_fields, print_json, print_line, print_table, print_unchanged
from commands.quarantine_plan import Plan, carried_out, planned
from eventlog.clock import rfc3339
from eventlog.ids import STREAM_ID

if TYPE_CHECKING:
    from eventlog.log import EventLog
    from eventlog.operation.quarantine import Quarantined, QuarantineFilter
    from receiver.elements import ElementReader
    from receiver.settings import Settings

_HEADS = ("id", "reason", "received_at", "bytes", "encoding", "key_id")
_filtered = options.together(
    click.option("--reason", metavar="REASON", help="Only for this reason, e.g. not-json."),
    options.since_until("Put there"),
)
_selected = options.together(
    click.argument("ids", nargs=-1, metavar="[ID]..."), _filtered, options.confirm, options.as_json
)


@click.group()
def quarantine() -> None:
    """Inspect signed bodies that could not be read, and retry or discard them."""


@quarantine.command("list")
@_filtered
@options.limit
@options.before
@options.as_json
def list_(limit: int, before: str | None, as_json: bool, **wanted: Any) -> None:
    """List quarantined bodies, newest first, without their bytes."""
    from eventlog.operation.quarantine import newest

    if before is not None and not STREAM_ID.fullmatch(before):
        raise click.BadParameter(
            f"{before!r} is not the id of a quarantined body; `quarantine list` shows the ids"
        )
    selected = _filter(wanted)
    found = on_log(prepare(logs=False), lambda log: newest(log, selected, limit=limit, before=before))
    rows = [_row(entry) for entry in found]
    if as_json:
        print_json(rows)
    else:
        print_table(_HEADS, [[row[head] for head in _HEADS] for row in rows])


@quarantine.command()
@click.argument("id", metavar="ID")
@click.option("--body", "with_body", is_flag=True, help="Show the body too; it may hold personal data.")
@options.as_json
def show(id: str, with_body: bool, as_json: bool) -> None:
    """Show one quarantined body: why it is there, and whether it can be read now."""
    from eventlog.operation.quarantine import by_id

    settings = prepare(logs=False)
    entry = on_log(settings, lambda log: by_id(log, id))
    row = {**_row(entry), **_readable(_reader(settings), entry)}
    if with_body:
        row["body"] = entry.body.decode(errors="backslashreplace")
    if as_json:
        print_json(row)
        return
    if with_body:
        row["body"] = row["body"].split("\n")
    print_fields(row)


@quarantine.command()
@_selected
def retry(ids: Sequence[str], yes: bool, as_json: bool, **wanted: Any) -> None:
    """Append what can be read now as events, each once, and leave the rest.

    Ids are retried at once. A selection by options needs --yes.
    """
    settings = prepare(logs=False)
    reader = _reader(settings)

    async def act(log: EventLog, plan: Plan) -> dict[str, int]:
        return await carried_out(log, plan, reader)

    plan, result = _decide(settings, "retry", ids, wanted, reader, yes=yes, act=act)
    if as_json:
        print_json({"plan": plan.as_json(), "done": result is not None, "result": result})
    else:
        print_line(f"{plan.count} selected, {len(plan.readable)} can be read now")
        for words in plan.words():
            print_line(f"  {words}")
        _print_result(plan, result)
    if result and result["refused"]:
        raise click.ClickException(f"{result['refused']} were refused by Redis and stay; try again later")


@quarantine.command()
@_selected
def discard(ids: Sequence[str], yes: bool, as_json: bool, **wanted: Any) -> None:
    """Discard quarantined bodies.

    Ids are discarded at once. A selection by options needs --yes.
    """
    from eventlog.operation.quarantine import discard as throw_away

    async def act(log: EventLog, plan: Plan) -> dict[str, int]:
        return {"discarded": await throw_away(log, plan.all_ids)}

    settings = prepare(logs=False)
    plan, result = _decide(settings, "discard", ids, wanted, _reader(settings), yes=yes, act=act)
    if as_json:
        print_json({"plan": plan.as_json(), "done": result is not None, "result": result})
        return
    print_line(f"{plan.count} to discard, {len(plan.readable)} of them could be read now")
    for words in plan.words():
        print_line(f"  {words}")
    _print_result(plan, result)


def _row(entry: Quarantined) -> dict[str, Any]:
    """Return a quarantined body as a JSON document, without its bytes."""
    return {
        "id": entry.stream_id,
        "reason": entry.reason,
        "received_at": rfc3339(entry.received_at_ms),
        "bytes": entry.size,
        "encoding": entry.encoding or None,
        "key_id": entry.key_id or None,
    }


def _readable(reader: ElementReader, entry: Quarantined) -> dict[str, Any]:
    """Describe what a retry would make of a body."""
    from eventlog.log import Unreadable

    match reader.read(entry):
        case Unreadable(reason=reason):
            return {"readable_now": False, "reason_now": reason}
        case event:
            return {"readable_now": True, "type": event.type, "key": event.key}


def _decide(
    settings: Settings,
    verb: str,
    ids: Sequence[str],
    wanted: dict[str, Any],
    reader: ElementReader,
    *,
    yes: bool,
    act: Callable[[EventLog, Plan], Any],
) -> tuple[Plan, dict[str, int] | None]:
    """Make the plan, and carry it out if asked to. The result is None when nothing was changed."""
    if bool(ids) == any(value is not None for value in wanted.values()):
        raise click.UsageError("Give ids, or select bodies with options such as --reason.")

    async def decide(log: EventLog) -> tuple[Plan, dict[str, int] | None]:
        plan = await planned(log, reader, ids, _filter(wanted))
        if not plan.count or not (yes or ids):
            return plan, None
        async with acting(log, f"quarantine {verb}", {"ids": list(ids), **wanted}, plan.count):
            return plan, await act(log, plan)

    return on_log(settings, decide)


def _print_result(plan: Plan, result: dict[str, int] | None) -> None:
    if result is not None:
        click.echo(", ".join(f"{name} {n}" for name, n in result.items()))
    elif plan.count:
        print_unchanged()


def _filter(wanted: dict[str, Any]) -> QuarantineFilter:
    from eventlog.operation.quarantine import QuarantineFilter

    return QuarantineFilter(**wanted)


def _reader(settings: Settings) -> ElementReader:
    from receiver.claim import rules_of
    from receiver.elements import ElementReader

    return ElementReader(rules_of(settings), most_bytes=settings.max_body_bytes)
