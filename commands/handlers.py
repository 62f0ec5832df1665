"""`handlers`: the registered handlers, how far they are, and their position changed by hand."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any

import click

from commands import prepare, print_json, print_table
from commands.handler_code import check, new, run
from commands.handler_replay import replay
from commands.options import stored_log
from eventlog.clock import now_ms, rfc3339

if TYPE_CHECKING:
    from eventlog.operation.handlers import Pause
    from eventlog.registry import HandlerPosition

_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{0,63}")
_as_json = click.option("--json", "as_json", is_flag=True, help="One JSON document.")


@click.group()
def handlers() -> None:
    """List handlers, and change their position in the log."""


@handlers.command("list")
@_as_json
def list_(as_json: bool) -> None:
    """List the handlers that workers have registered."""
    found, paused, pairs = asyncio.run(_read())
    if as_json:
        print_json(
            [
                {**_row(handler, paused.get(handler.name)), "pairs": pairs.get(handler.name, {})}
                for handler in found
            ]
        )
        return
    heads = (
        "handler",
        "state",
        "waiting",
        "open",
        "dead",
        "done",
        "lanes by process",
        "order",
        "queue",
        "version",
        "last seen",
        "types",
    )
    print_table(
        heads,
        [
            (
                handler.name,
                _state(paused.get(handler.name)),
                handler.waiting,
                handler.open,
                handler.dead,
                handler.stats.get("done", 0),
                " ".join(f"{process}={n}" for process, n in pairs.get(handler.name, {}).items()) or "-",
                handler.order,
                handler.queue,
                ",".join(handler.versions),
                rfc3339(handler.last_seen_ms),
                ",".join(handler.types),
            )
            for handler in found
        ],
    )


@handlers.command()
@click.argument("name")
@click.option("--reason", default="", metavar="TEXT", help="Shown to operators while the handler is paused.")
@_as_json
def pause(name: str, reason: str, as_json: bool) -> None:
    """Pause a handler: running events finish, and new ones wait."""
    from eventlog.operation import handlers as positions

    async def act() -> None:
        async with stored_log(prepare()) as log:
            await positions.pause(log, name, reason=reason, now_ms=now_ms())

    asyncio.run(act())
    _say(as_json, f"{name} is paused", handler=name, state="paused", reason=reason)


@handlers.command()
@click.argument("name")
@_as_json
def resume(name: str, as_json: bool) -> None:
    """Resume a paused handler at its position."""
    from eventlog.operation import handlers as positions

    async def act() -> bool:
        async with stored_log(prepare()) as log:
            return await positions.resume(log, name)

    changed = asyncio.run(act())
    _say(
        as_json,
        f"{name} is running again" if changed else f"{name} was not paused",
        handler=name,
        state="running",
        changed=changed,
    )


@handlers.command()
@click.argument("old")
@click.argument("new_name", metavar="NEW")
@click.option("--yes", is_flag=True, help="Make the change; without it, only show the plan.")
@_as_json
def rename(old: str, new_name: str, yes: bool, as_json: bool) -> None:
    """Move a handler's position and records to another name.

    Workers release its lanes first. Then deploy the code with the new name; until then its events wait.
    """
    from eventlog.operation import handlers as positions

    if not _NAME.fullmatch(new_name):
        raise click.UsageError(
            f"{new_name!r}: a name is lower case letters, digits, dots and dashes, at most 64."
        )

    async def act() -> HandlerPosition:
        async with stored_log(prepare()) as log:
            found = await _position(log, old)
            if yes:
                await positions.rename(log, old, new_name, now_ms=now_ms())
            return found

    found = asyncio.run(act())
    plan = {"from": old, "to": new_name, **_standing(found)}
    if as_json:
        print_json({"plan": plan, "done": yes})
        return
    click.echo(f"{old} -> {new_name}: {_amounts(found)}")
    click.echo(f"deploy the code with the new name: until a worker declares {new_name}, its events wait")
    click.echo(f"workers that still declare {old} are ignored")
    _conclude(yes, "renamed")


@handlers.command()
@click.argument("name")
@click.option("--yes", is_flag=True, help="Make the change; without it, only show the plan.")
@_as_json
def retire(name: str, yes: bool, as_json: bool) -> None:
    """Delete a handler's position, open events, dead letters and once-only steps."""
    from eventlog.operation import handlers as positions

    async def act() -> HandlerPosition:
        async with stored_log(prepare()) as log:
            found = await _position(log, name)
            if yes:
                await positions.retire(log, name, now_ms=now_ms())
            return found

    found = asyncio.run(act())
    if as_json:
        plan = {"handler": name, **_standing(found), "last_seen_at": rfc3339(found.last_seen_ms)}
        print_json({"plan": plan, "done": yes})
        return
    click.echo(
        f"{name}: {_amounts(found)}; all of it is deleted, and so are the results of its once-only steps"
    )
    click.echo("types that no other handler wants leave the notification subscription")
    click.echo(
        f"a worker last declared it at {rfc3339(found.last_seen_ms)}; the next one that does registers it as new"
    )
    _conclude(yes, "retired")


for command in (replay, run, new, check):
    handlers.add_command(command)


async def _read() -> tuple[list[HandlerPosition], dict[str, Pause], dict[str, dict[str, int]]]:
    from eventlog.operation.handlers import pauses
    from eventlog.presence import pairs_by_process

    async with stored_log(prepare()) as log:
        return await log.handlers(), await pauses(log), await pairs_by_process(log)


async def _position(log: Any, name: str) -> HandlerPosition:
    from eventlog.operation.handlers import unknown_handler

    for found in await log.handlers():
        if found.name == name:
            return found  # type: ignore[no-any-return]
    raise await unknown_handler(log, name)


def _row(handler: HandlerPosition, paused: Pause | None) -> dict[str, object]:
    from eventlog.registry import MISFIT

    return {
        "name": handler.name,
        "version": handler.version,
        "versions": list(handler.versions),
        "types": list(handler.types),
        "queue": handler.queue,
        "order": handler.order,
        "isolation": handler.isolation,
        "last_seen_at": rfc3339(handler.last_seen_ms),
        "paused": None if paused is None else {"since": rfc3339(paused.since_ms), "reason": paused.reason},
        **_standing(handler),
        "outcomes": {
            name: n for name, n in sorted(handler.stats.items()) if not name.startswith(("ms<=", MISFIT))
        },
    }


def _standing(handler: HandlerPosition) -> dict[str, int]:
    return {"waiting": handler.waiting, "open": handler.open, "dead": handler.dead}


def _amounts(handler: HandlerPosition) -> str:
    return f"{handler.waiting} events waiting, {handler.open} open, {handler.dead} dead"


def _state(paused: Pause | None) -> str:
    if paused is None:
        return "running"
    return f"paused since {rfc3339(paused.since_ms)}" + (f": {paused.reason}" if paused.reason else "")


def _say(as_json: bool, text: str, **document: object) -> None:
    if as_json:
        print_json(document)
    else:
        click.echo(text)


def _conclude(done: bool, verb: str) -> None:
    if done:
        click.echo(verb)
    else:
        click.echo("nothing was changed; add --yes to make the change", err=True)
