"""`events`: list, show and follow the events in the log."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click

from commands import prepare, print_json, print_table
from commands.options import stored_log
from eventlog.clock import rfc3339
from eventlog.duplicates import repeat_reason

if TYPE_CHECKING:
    from eventlog.duplicates import RepeatReason
    from eventlog.log import EventLog
    from eventlog.record import StoredEvent
    from eventlog.usage import Standing
    from receiver.settings import Settings


@click.command()
@click.option(
    "--lines", type=click.IntRange(0, 10_000), default=10, show_default=True, help="Number of past events."
)
@click.option("--follow/--no-follow", default=True, show_default=True, help="Wait for new events.")
@click.option("--type", "type_", metavar="TYPE", help="Only this notification type.")
@click.option("--key", metavar="ENTITY", help="Only this entity, e.g. session:4711.")
@click.option("--json", "as_json", is_flag=True, help="JSON Lines.")
def tail(lines: int, follow: bool, type_: str | None, key: str | None, as_json: bool) -> None:
    """Show events as they arrive, without bodies, until Ctrl-C."""

    def show(event: StoredEvent) -> None:
        if type_ in (None, event.type) and key in (None, event.key):
            said = json.dumps(row(event), ensure_ascii=False) if as_json else "  ".join(_texts(event))
            print(said, flush=True)

    try:
        asyncio.run(_until_signal(_show_all(prepare(), show, lines, follow, type_, key)))
    except BrokenPipeError:
        # The reader closed the pipe. The interpreter must not flush stdout again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


async def _until_signal(work: Coroutine[Any, Any, None]) -> None:
    """Run it until it ends, or until SIGINT or SIGTERM."""
    from eventlog.connection.connect import end_tasks

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    showing = asyncio.create_task(work)
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait([showing, stopping], return_when=asyncio.FIRST_COMPLETED)
    if showing.done():
        showing.result()
    await end_tasks([showing, stopping])


async def _show_all(
    settings: Settings,
    show: Callable[[StoredEvent], None],
    lines: int,
    follow: bool,
    type_: str | None,
    key: str | None,
) -> None:
    """Show past events and, with `follow`, new ones."""
    from eventlog.inspection.events import list_events
    from eventlog.inspection.tail import arriving, ends
    from eventlog.record import id_order

    async with stored_log(settings) as log:
        after = await ends(log)
        past = await list_events(log, limit=lines, type=type_, key=key) if lines else []
        for event in reversed(past):
            if event.order <= id_order(after[event.lane]):
                show(event)
        if follow:
            async for some in arriving(log, after):
                for event in some:
                    show(event)


def _texts(event: StoredEvent) -> list[str]:
    return ["-" if cell in (None, "") else str(cell) for cell in cells(event)]


REPEAT_WORDS: Mapping[RepeatReason, str] = {
    "no-own-time": "an equal body came before, and no time in it tells the two apart",
    "not-last": "an equal body came before, and it was not the last one accepted of its type and entity",
    "appended-again": "Redis lost the event, and the receiver appended it again",
    "unknown": "an equal body came before",
}


def row(event: StoredEvent) -> dict[str, Any]:
    """Return an event as a JSON document."""
    return {
        "id": event.event_id,
        "type": event.type,
        "key": event.key,
        "received_at": rfc3339(event.received_at_ms),
        "bytes": len(event.body),
        "marks": list(event.marks),
        "maybe_repeat": repeat_reason(event.marks),
        "key_id": event.key_id or None,
    }


def cells(event: StoredEvent) -> tuple[object, ...]:
    """Return an event as a row of the table."""
    shown = row(event)
    return (
        shown["id"],
        shown["received_at"],
        shown["type"],
        shown["key"],
        shown["bytes"],
        ",".join(event.marks),
    )


def shape(body: bytes) -> dict[str, str]:
    """Map the path of each field to the kind of its value, without values; empty for a body that is not JSON."""
    try:
        return dict(_shape(json.loads(body), ""))
    except (ValueError, RecursionError):
        return {}


def _shape(value: Any, path: str) -> Iterator[tuple[str, str]]:
    match value:
        case dict() if value:
            for name, inner in value.items():
                yield from _shape(inner, f"{path}.{name}" if path else name)
        case list() if value:
            for inner in value:
                yield from _shape(inner, f"{path}[]")
        case _:
            yield path or ".", _kind(value)


def _kind(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int() | float():
            return "number"
        case str():
            return "text"
        case dict():
            return "object"
        case _:
            return "list"


_HEADS = ("event", "received_at", "type", "key", "bytes", "marks")


@click.group()
def events() -> None:
    """Inspect the events in the log."""


@events.command("list")
@click.option(
    "--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="Maximum number of rows."
)
@click.option("--type", "type_", metavar="TYPE", help="Only this notification type.")
@click.option("--key", metavar="ENTITY", help="Only this entity, e.g. session:4711.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def list_(limit: int, type_: str | None, key: str | None, as_json: bool) -> None:
    """List events, newest first, without bodies."""
    found, stands = asyncio.run(_read(limit, type_, key))
    if as_json:
        print_json([row(event) for event in found])
        return
    print_table(_HEADS, [["-" if cell in (None, "") else cell for cell in cells(event)] for event in found])
    if stands is not None:
        click.echo(_kept(stands), err=True)


@events.command()
@click.argument("id", metavar="ID")
@click.option(
    "--body", "with_body", is_flag=True, help="Print only the body, byte by byte; it may hold personal data."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def show(id: str, with_body: bool, as_json: bool) -> None:
    """Show one event, or one quarantined body, by its id.

    Shows where it came from and the shape of its body, without values.
    """
    known, body = asyncio.run(_one(id))
    if as_json:
        text = {"body": body.decode(errors="replace")} if with_body else {}
        print_json({**known, "shape": shape(body), **text})
        return
    if with_body:
        click.echo(body, nl=False)
        if sys.stdout.isatty():
            click.echo()
        return
    for name, value in known.items():
        if name == "marks":
            value = ",".join(value)
        elif name == "maybe_repeat":
            value = REPEAT_WORDS.get(value)
        click.echo(f"{name + ':':<13} {'-' if value in (None, '') else value}")
    click.echo("shape:" + ("" if shape(body) else f"        {len(body)} bytes that are not JSON"))
    for path, kind in shape(body).items():
        click.echo(f"    {path}  {kind}")


events.add_command(tail)


async def _read(limit: int, type_: str | None, key: str | None) -> tuple[list[StoredEvent], Standing | None]:
    from eventlog.inspection.events import list_events
    from eventlog.usage import standing

    async with stored_log(prepare()) as log:
        return await list_events(log, limit=limit, type=type_, key=key), await standing(log)


async def _one(id: str) -> tuple[dict[str, Any], bytes]:
    from eventlog.errors import UnknownName
    from eventlog.inspection.events import read_event

    async with stored_log(prepare()) as log:
        event = await read_event(log, id)
        if event is not None:
            return row(event), event.body
        if found := await _quarantined(log, id):
            return found
    raise UnknownName(f"no event {id!r} is kept; `explain {id}` shows what the log still knows of it")


async def _quarantined(log: EventLog, id: str) -> tuple[dict[str, Any], bytes] | None:
    from eventlog.inspection.explain import quarantined

    found = await quarantined(log, id)
    if found is None:
        return None
    known = {
        "id": found.stream_id,
        "quarantined": found.reason,
        "received_at": rfc3339(found.received_at_ms),
        "bytes": len(found.body),
        "key_id": found.key_id or None,
    }
    return known, found.body


def _kept(stands: Standing) -> str:
    since = (
        "no event is kept" if stands.oldest_ms is None else f"oldest kept event {rfc3339(stands.oldest_ms)}"
    )
    full = f"; nothing more is appended: {stands.full}" if stands.full else ""
    return f"{since}; the log takes {stands.bytes:,} of {stands.max_bytes:,} bytes{full}"
