"""`events`: what arrived."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import click

from receiver.cli import prepare, print_json, print_table, rfc3339, store_url

if TYPE_CHECKING:
    from receiver.settings import Settings
    from workers.eventlog.record import StoredEvent


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
    found = asyncio.run(_read(prepare(), limit, type_, key))
    if as_json:
        print_json([_row(event) for event in found])
    else:
        print_table(
            ("event", "received_at", "type", "key", "bytes", "marks"),
            [["-" if cell in (None, "") else cell for cell in _cells(event)] for event in found],
        )


async def _read(settings: Settings, limit: int, type_: str | None, key: str | None) -> list[StoredEvent]:
    from workers.eventlog.connect import connect
    from workers.eventlog.log import EventLog

    async with connect(store_url(settings)) as redis:
        log = EventLog(redis, prefix=settings.key_prefix, lanes=settings.lanes)
        return await log.list_events(limit=limit, type=type_, key=key)


def _cells(event: StoredEvent) -> tuple[object, ...]:
    row = _row(event)
    return (row["id"], row["received_at"], row["type"], row["key"], row["bytes"], ",".join(event.marks))


def _row(event: StoredEvent) -> dict[str, object]:
    return {
        "id": event.event_id,
        "type": event.type,
        "key": event.key,
        "received_at": rfc3339(event.received_at_ms),
        "bytes": len(event.body),
        "marks": list(event.marks),
        "key_id": event.key_id or None,
    }
