"""`handlers export-state`: the states that a handler keeps of entities, as JSON Lines."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from commands import prepare
from commands.options import on_log
from eventlog.clock import now_ms, rfc3339

if TYPE_CHECKING:
    from eventlog.log import EventLog


@click.command("export-state")
@click.argument("name")
def export_state(name: str) -> None:
    """Write the state of each entity that a handler keeps, one JSON document a line.

    The states hold what the handler put there, personal data too, if it did.
    """
    from eventlog.entity_records import states
    from eventlog.operation.handlers import unknown_handler
    from eventlog.registry import handler_names

    async def export(log: EventLog) -> None:
        if name not in await handler_names(log):
            raise await unknown_handler(log, name)
        async for key, document, left_ms in states(log, name):
            until = rfc3339(now_ms() + max(0, left_ms), timespec="seconds")
            click.echo(json.dumps({"key": key, "until": until, "state": json.loads(document)}))

    on_log(prepare(logs=False), export)
