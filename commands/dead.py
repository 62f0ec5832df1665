"""`dead`: list dead letters, show them, retry them, or discard them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from ampeco.encodings import plain_or_same
from commands import options, prepare
from commands.acts import acting
from commands.delivery_text import call_words
from commands.options import on_log
from commands.output import print_fields, print_json, print_line, print_table, print_unchanged
from commands.type_names import never_seen
from eventlog.clock import rfc3339
from eventlog.ids import STREAM_ID

if TYPE_CHECKING:
    from eventlog.log import EventLog
    from eventlog.operation.dead_letters import DeadEntry, DeadFilter

_SHOWN = 5
_filtered = options.together(
    click.option("--handler", metavar="NAME", help="Only of this handler."),
    click.option("--reason", metavar="REASON", help="Only for this reason, e.g. attempts-exhausted."),
    click.option("--type", metavar="TYPE", help="Only of this notification type."),
    options.only_key,
    options.since_until("Given up"),
)
_selected = options.together(
    click.argument("ids", nargs=-1, metavar="[ID]..."), _filtered, options.confirm, options.as_json
)


@click.group()
def dead() -> None:
    """Inspect dead letters, and retry or discard them."""


@dead.command("list")
@_filtered
@options.limit
@options.before
@options.as_json
def list_(limit: int, before: str | None, as_json: bool, **wanted: Any) -> None:
    """List dead letters, newest first, without bodies."""
    from eventlog.operation.dead_letters import newest

    selected, place = _filter(wanted), _place(before)

    async def read(log: EventLog) -> list[DeadEntry]:
        found = await newest(log, selected, limit=limit, before=place)
        if not found:
            await _hint(log, selected)
        return found

    found = on_log(prepare(logs=False), read)
    if as_json:
        print_json([_row(entry) for entry in found])
    else:
        _print_rows(found)


@dead.command()
@click.argument("id", metavar="ID")
@click.option("--body", "with_body", is_flag=True, help="Show the body too; it may hold personal data.")
@options.as_json
def show(id: str, with_body: bool, as_json: bool) -> None:
    """Show one dead letter by its id, or all dead letters of an event."""
    from eventlog.operation.dead_letters import by_id

    found = [_details(entry, with_body) for entry in on_log(prepare(logs=False), lambda log: by_id(log, id))]
    if as_json:
        print_json(found)
        return
    for row in found:
        row["log"] = [line for item in row["log"] for line in _attempt(item)]
        for name in {"trace", "body"} & row.keys():
            row[name] = row[name].split("\n")
        print_fields(row)


@dead.command()
@_selected
def retry(ids: Sequence[str], yes: bool, as_json: bool, **wanted: Any) -> None:
    """Retry dead letters, in order of arrival per entity.

    Ids are retried at once. A selection by options needs --yes.
    """
    from eventlog.operation.dead_letters import retry as try_again

    async def act(log: EventLog, found: list[DeadEntry]) -> dict[str, int]:
        result = await try_again(log, found)
        return {"put": 0, "open": 0, "gone": 0, "full": 0, **result}

    result = _decide(ids, wanted, yes, as_json, "retry", act)
    if result and "unreadable" in result:
        raise click.ClickException(f"{result['unreadable']} were not retried: this version cannot read them")
    if result and result["full"]:
        raise click.ClickException(
            f"{result['full']} were not retried: the handler has too many open events; try again later"
        )


@dead.command()
@_selected
def discard(ids: Sequence[str], yes: bool, as_json: bool, **wanted: Any) -> None:
    """Discard dead letters.

    Ids are discarded at once. A selection by options needs --yes.
    """
    from eventlog.operation.dead_letters import discard as throw_away

    async def act(log: EventLog, found: list[DeadEntry]) -> dict[str, int]:
        return {"discarded": await throw_away(log, found)}

    _decide(ids, wanted, yes, as_json, "discard", act)


def _decide(
    ids: Sequence[str], wanted: dict[str, Any], yes: bool, as_json: bool, verb: str, act: Callable[..., Any]
) -> dict[str, int] | None:
    """Show the plan, and carry it out if asked to. Return counts of the result; None when nothing was changed."""
    by_option = any(value is not None for value in wanted.values())
    if bool(ids) == by_option:
        raise click.UsageError("Give ids, or select dead letters with options such as --handler.")
    from eventlog.operation.dead_letters import by_id, matching

    async def decide(log: EventLog) -> tuple[list[DeadEntry], dict[str, int] | None]:
        if ids:
            found = [entry for one in dict.fromkeys(ids) for entry in await by_id(log, one)]
        else:
            found = await matching(log, _filter(wanted))
            if not found:
                await _hint(log, _filter(wanted))
        if not found or not (yes or ids):
            return found, None
        async with acting(log, f"dead {verb}", {"ids": list(ids), **wanted}, len(found)):
            return found, await act(log, found)

    found, result = on_log(prepare(logs=False), decide)
    reasons = Counter(f"{entry.handler}: {entry.letter.reason}" for entry in found)
    if as_json:
        plan = {"count": len(found), "reasons": reasons, "first": [_row(entry) for entry in found[:_SHOWN]]}
        print_json({"plan": plan, "done": result is not None, "result": result})
        return result
    print_line(f"{len(found)} to {verb}")
    for name, n in sorted(reasons.items()):
        print_line(f"  {n} of {name}")
    if result is not None:
        click.echo(", ".join(f"{name} {n}" for name, n in result.items()))
    elif found:
        _print_rows(found[:_SHOWN])
        print_unchanged()
    return result


def _filter(wanted: dict[str, Any]) -> DeadFilter:
    from eventlog.operation.dead_letters import DeadFilter

    return DeadFilter(**wanted)


async def _hint(log: EventLog, wanted: DeadFilter) -> None:
    """Return a note that no event of the wanted type has ever arrived, and which type may be meant."""
    if wanted.type is not None:
        for line in await never_seen(log, [wanted.type]):
            print_line(line, err=True)


def _place(id: str | None) -> tuple[str, str] | None:
    if id is None:
        return None
    handler, _, stream_id = id.rpartition("/")
    if not (handler and STREAM_ID.fullmatch(stream_id)):
        raise click.BadParameter(f"{id!r} is not the id of a dead letter; `dead list` shows the ids")
    return handler, stream_id


def _row(entry: DeadEntry) -> dict[str, Any]:
    record = entry.letter.record
    return {
        "id": entry.id,
        "handler": entry.handler,
        "event": record.event.event_id,
        "type": record.event.type,
        "key": record.event.key,
        "reason": entry.letter.reason,
        "error": record.last_error,
        "attempts": record.attempts,
        "since": rfc3339(entry.since_ms),
    }


def _details(entry: DeadEntry, with_body: bool) -> dict[str, Any]:
    record = entry.letter.record
    text = plain_or_same(record.event.body, record.event.encoding) if with_body else b""
    body = {"body": text.decode(errors="replace")} if with_body else {}
    return {
        **_row(entry),
        "received_at": rfc3339(record.event.received_at_ms),
        "deaths": record.crashes,
        "replayed": record.replayed,
        "log": [
            {
                "at": rfc3339(note.at_ms),
                "outcome": note.outcome,
                "detail": note.detail,
                "actions": [*note.actions],
            }
            for note in record.log
        ],
        "trace": entry.letter.trace,
        **body,
    }


def _attempt(note: dict[str, Any]) -> list[str]:
    called = [f"  called {call_words(line)}" for line in note["actions"]]
    return [f"{note['at']} {note['outcome']} {note['detail']}".rstrip(), *called]


def _print_rows(entries: Sequence[DeadEntry]) -> None:
    heads = ("id", "event", "type", "key", "reason", "error", "attempts", "since")
    print_table(heads, [[row[head] for head in heads] for row in map(_row, entries)])
