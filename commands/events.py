"""`events`: list, show and follow the events in the log; `hurry` and `shapes` are in files of their own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from ampeco.encodings import plain_or_same
from commands import options, prepare
from commands.body_shape import shape
from commands.hurry import hurry
from commands.options import on_log, stored_log
from commands.output import json_text, print_fields, print_json, print_line, print_table
from commands.shapes import shapes
from commands.type_names import never_seen
from eventlog.clock import rfc3339
from eventlog.duplicates import repeat_reason
from eventlog.text import printable

if TYPE_CHECKING:
    from eventlog.duplicates import RepeatReason
    from eventlog.log import EventLog
    from eventlog.operation.quarantine import Quarantined
    from eventlog.record import StoredEvent
    from eventlog.usage import Standing


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
        "encoding": event.encoding or None,
        "key_id": event.key_id or None,
    }


def quarantine_row(body: Quarantined) -> dict[str, Any]:
    """Return a quarantined body as a JSON document, without the body."""
    return {
        "id": body.stream_id,
        "quarantined": body.reason,
        "received_at": rfc3339(body.received_at_ms),
        "bytes": len(body.body),
        "key_id": body.key_id or None,
    }


def cells(event: StoredEvent) -> tuple[object, ...]:
    """Return an event as a row of the table."""
    at = rfc3339(event.received_at_ms)
    return event.event_id, at, event.type, event.key, len(event.body), ",".join(event.marks)


_HEADS = ("event", "received_at", "type", "key", "bytes", "marks")


@click.group()
def events() -> None:
    """Inspect the events in the log."""


@events.command("list")
@options.limit
@options.only_type
@options.only_key
@options.as_json
def list_(limit: int, type_: str | None, key: str | None, as_json: bool) -> None:
    """List events, newest first, without bodies."""
    from eventlog.inspection.events import list_events
    from eventlog.usage import standing

    async def read(log: EventLog) -> tuple[list[StoredEvent], Standing | None, list[str]]:
        found = await list_events(log, limit=limit, type=type_, key=key)
        unseen = [] if found or type_ is None else await never_seen(log, [type_])
        return found, await standing(log), unseen

    found, stands, unseen = on_log(prepare(logs=False), read)
    for line in unseen:
        print_line(line, err=True)
    if as_json:
        print_json([row(event) for event in found])
        return
    print_table(_HEADS, map(cells, found))
    if stands is not None:
        print_line(_kept(stands, there=bool(found)), err=True)


@events.command()
@click.argument("id", metavar="ID")
@click.option(
    "--body",
    "with_body",
    is_flag=True,
    help="Print only the body: byte by byte into a pipe, escaped on a terminal; it may hold personal data.",
)
@options.as_json
def show(id: str, with_body: bool, as_json: bool) -> None:
    """Show one event, or one quarantined body, by its id.

    Shows where it came from and the shape of its body, without values.
    """
    known, body, encoding = on_log(prepare(logs=False), lambda log: _one(log, id))
    text = plain_or_same(body, encoding)
    if as_json:
        shown = {"body": text.decode(errors="replace")} if with_body else {}
        print_json({**known, "shape": shape(text), **shown})
        return
    if with_body:
        if sys.stdout.isatty():
            for line in text.decode(errors="backslashreplace").split("\n"):
                print_line(line)
        else:
            click.echo(body, nl=False)
        return
    if "marks" in known:
        known["marks"] = ",".join(known["marks"])
        known["maybe_repeat"] = REPEAT_WORDS.get(known["maybe_repeat"])
    print_fields(known)
    click.echo("shape:" + ("" if shape(text) else f"        {len(body)} bytes that are not JSON"))
    for path, kind in shape(text).items():
        print_line(f"    {path}  {kind}")


@events.command()
@click.option(
    "--lines", type=click.IntRange(0, 10_000), default=10, show_default=True, help="Number of past events."
)
@click.option("--follow/--no-follow", default=True, show_default=True, help="Wait for new events.")
@options.only_type
@options.only_key
@click.option("--json", "as_json", is_flag=True, help="JSON Lines.")
def tail(lines: int, follow: bool, type_: str | None, key: str | None, as_json: bool) -> None:
    """Show events as they arrive, without bodies, until Ctrl-C."""
    from commands.processes import until_signal

    def show(event: StoredEvent) -> None:
        if type_ in (None, event.type) and key in (None, event.key):
            texts = ("-" if cell in (None, "") else str(cell) for cell in cells(event))
            said = json_text(row(event)) if as_json else printable("  ".join(texts))
            print(said, flush=True)

    async def show_all() -> None:
        from eventlog.inspection.events import list_events
        from eventlog.inspection.tail import arriving, ends
        from eventlog.record import id_order

        async with stored_log(settings) as log:
            after = await ends(log)
            past = await list_events(log, limit=lines, type=type_, key=key) if lines else []
            if type_ is not None and not past:
                for line in await never_seen(log, [type_]):
                    print_line(line, err=True)
            for event in reversed(past):
                if event.order <= id_order(after[event.lane]):
                    show(event)
            if follow:
                async for some in arriving(log, after):
                    for event in some:
                        show(event)

    settings = prepare(logs=False)
    try:
        with contextlib.suppress(asyncio.CancelledError):
            asyncio.run(until_signal(show_all()))
    except BrokenPipeError:
        # The reader closed the pipe. The interpreter must not flush stdout again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


events.add_command(hurry)
events.add_command(shapes)


async def _one(log: EventLog, id: str) -> tuple[dict[str, Any], bytes, str]:
    """Return an event or a quarantined body: its document, its bytes, and how they are encoded."""
    from eventlog.errors import UnknownName
    from eventlog.inspection.events import read_event
    from eventlog.operation.quarantine import quarantined

    if (event := await read_event(log, id)) is not None:
        return row(event), event.body, event.encoding
    if (found := await quarantined(log, id)) is not None:
        return quarantine_row(found), found.body, ""
    raise UnknownName(f"no event {id!r} is kept; `explain {id}` shows what the log still knows of it")


def _kept(stands: Standing, *, there: bool) -> str:
    oldest_ms = stands.oldest_ms
    since = "no event is kept" if oldest_ms is None else f"oldest kept event {rfc3339(oldest_ms)}"
    if there and oldest_ms is None:
        since = "these events came after the last count"
    full = f"; nothing more is appended: {stands.full}" if stands.full else ""
    return f"{since}; the log takes {stands.bytes:,} of {stands.max_bytes:,} bytes{full}"
