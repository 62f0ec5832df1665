"""`events tail`: events as they arrive, one line each, until somebody has seen enough."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

import click

from receiver.cli import prepare
from receiver.cli.event_rows import cells, row
from receiver.cli.stored import stored_log

if TYPE_CHECKING:
    from receiver.settings import Settings
    from workers.eventlog.record import StoredEvent


@click.command()
@click.option(
    "--lines", type=click.IntRange(0, 10_000), default=10, show_default=True, help="So many of the past."
)
@click.option("--follow/--no-follow", default=True, show_default=True, help="Wait for more.")
@click.option("--type", "type_", metavar="TYPE", help="Only this notification type.")
@click.option("--key", metavar="ENTITY", help="Only this entity, e.g. session:4711.")
@click.option("--json", "as_json", is_flag=True, help="JSON Lines.")
def tail(lines: int, follow: bool, type_: str | None, key: str | None, as_json: bool) -> None:
    """Show events as they arrive; bodies are not shown. Ctrl-C ends it."""

    def show(event: StoredEvent) -> None:
        if type_ in (None, event.type) and key in (None, event.key):
            said = json.dumps(row(event), ensure_ascii=False) if as_json else "  ".join(_texts(event))
            print(said, flush=True)

    try:
        asyncio.run(_until_signal(_show_all(prepare(), show, lines, follow, type_, key)))
    except BrokenPipeError:
        # Whoever read has seen enough; the interpreter must not try to flush once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


async def _until_signal(work: Coroutine[Any, Any, None]) -> None:
    """Do it, but no longer than until SIGINT or SIGTERM."""
    from workers.eventlog.connect import end_tasks

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
    """Show what there is and, if asked to, what comes."""
    from workers.eventlog.record import id_order
    from workers.eventlog.tail import arriving, ends

    async with stored_log(settings) as log:
        after = await ends(log)
        past = await log.list_events(limit=lines, type=type_, key=key) if lines else []
        for event in reversed(past):
            if event.order <= id_order(after[event.lane]):
                show(event)
        if follow:
            async for some in arriving(log, after):
                for event in some:
                    show(event)


def _texts(event: StoredEvent) -> list[str]:
    return ["-" if cell in (None, "") else str(cell) for cell in cells(event)]
