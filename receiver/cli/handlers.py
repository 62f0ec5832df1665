"""`handlers`: the registered handlers and how far they are."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import click

from receiver.cli import prepare, print_json, print_table, rfc3339, store_url

if TYPE_CHECKING:
    from receiver.settings import Settings
    from workers.eventlog.log import HandlerPosition


@click.group()
def handlers() -> None:
    """Look at the handlers and their position in the log."""


@handlers.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def list_(as_json: bool) -> None:
    """List the handlers that workers have registered."""
    found = asyncio.run(_read(prepare()))
    if as_json:
        print_json([_row(handler) for handler in found])
    else:
        print_table(
            ("handler", "version", "order", "queue", "waiting", "open", "done", "dead", "types"),
            [
                (
                    handler.name,
                    handler.version,
                    handler.order,
                    handler.queue,
                    handler.waiting,
                    handler.open,
                    handler.stats.get("done", 0),
                    handler.dead,
                    ",".join(handler.types),
                )
                for handler in found
            ],
        )


async def _read(settings: Settings) -> list[HandlerPosition]:
    from workers.eventlog.connect import connect
    from workers.eventlog.log import EventLog

    async with connect(store_url(settings)) as redis:
        return await EventLog(redis, prefix=settings.key_prefix, lanes=settings.lanes).handlers()


def _row(handler: HandlerPosition) -> dict[str, object]:
    return {
        "name": handler.name,
        "version": handler.version,
        "types": list(handler.types),
        "queue": handler.queue,
        "order": handler.order,
        "last_seen_at": rfc3339(handler.last_seen_ms),
        "waiting": handler.waiting,
        "open": handler.open,
        "dead": handler.dead,
        "outcomes": {name: n for name, n in sorted(handler.stats.items()) if not name.startswith("ms<=")},
    }
