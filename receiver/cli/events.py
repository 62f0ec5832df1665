"""`events`: what arrived."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any

import click

from receiver.cli import prepare, print_json, print_table
from receiver.cli.event_rows import REPEAT_WORDS, cells, row, shape
from receiver.cli.event_tail import tail
from receiver.cli.stored import stored_log
from workers.eventlog.moments import rfc3339

if TYPE_CHECKING:
    from workers.eventlog.log import EventLog
    from workers.eventlog.record import StoredEvent
    from workers.eventlog.standing import Standing

_HEADS = ("event", "received_at", "type", "key", "bytes", "marks")


@click.group()
def events() -> None:
    """Look at what arrived."""


@events.command("list")
@click.option(
    "--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="At most so many."
)
@click.option("--type", "type_", metavar="TYPE", help="Only this notification type.")
@click.option("--key", metavar="ENTITY", help="Only this entity, e.g. session:4711.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def list_(limit: int, type_: str | None, key: str | None, as_json: bool) -> None:
    """List events, the newest first; bodies are not shown."""
    found, stands = asyncio.run(_read(limit, type_, key))
    if as_json:
        print_json([row(event) for event in found])
        return
    print_table(_HEADS, [["-" if cell in (None, "") else cell for cell in cells(event)] for event in found])
    if stands is not None:
        click.echo(_kept(stands), err=True)


@events.command()
@click.argument("id", metavar="ID")
@click.option("--body", "with_body", is_flag=True, help="What AMPECO sent, byte by byte; it may be personal.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def show(id: str, with_body: bool, as_json: bool) -> None:
    """Show one event, or what lies in quarantine under that id: where it came from, and the shape of its body.

    With --body nothing but the body, which may hold personal data.
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
    click.echo("shape:" + ("" if shape(body) else f"        {len(body)} bytes that are no JSON"))
    for path, kind in shape(body).items():
        click.echo(f"    {path}  {kind}")


events.add_command(tail)


async def _read(limit: int, type_: str | None, key: str | None) -> tuple[list[StoredEvent], Standing | None]:
    from workers.eventlog.standing import standing

    async with stored_log(prepare()) as log:
        return await log.list_events(limit=limit, type=type_, key=key), await standing(log)


async def _one(id: str) -> tuple[dict[str, Any], bytes]:
    from workers.eventlog.errors import UnknownName

    async with stored_log(prepare()) as log:
        event = await log.event(id)
        if event is not None:
            return row(event), event.body
        if found := await _quarantined(log, id):
            return found
    raise UnknownName(f"no event {id!r} is kept; `explain {id}` tells what is still known of it")


async def _quarantined(log: EventLog, id: str) -> tuple[dict[str, Any], bytes] | None:
    from workers.eventlog.explain import quarantined

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
