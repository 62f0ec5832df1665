"""`handlers`: the position of a handler changed by hand. Its list and its other commands have files of their own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING

import click

from commands import options, prepare
from commands.acts import acting, resumable
from commands.handler_check import check
from commands.handler_code import run
from commands.handler_list import amounts, list_, standing, unregistered
from commands.handler_replay import replay
from commands.handler_state import export_state
from commands.new_handler import new
from commands.options import HandlerName, on_log
from commands.output import print_json, print_line, print_unchanged
from eventlog.clock import now_ms, rfc3339

if TYPE_CHECKING:
    from eventlog.log import EventLog
    from eventlog.registry import HandlerPosition


@click.group()
def handlers() -> None:
    """List handlers, and change their position in the log."""


@handlers.command()
@click.argument("name")
@click.option("--reason", default="", metavar="TEXT", help="Shown to operators while the handler is paused.")
@options.as_json
def pause(name: str, reason: str, as_json: bool) -> None:
    """Pause a handler: running events finish, and new ones wait."""
    from eventlog.operation import handlers as positions

    async def change(log: EventLog) -> None:
        async with acting(log, "handlers pause", {"handler": name, "reason": reason}):
            await positions.pause(log, name, reason=reason, now_ms=now_ms())

    on_log(prepare(logs=False), change)
    _say(as_json, f"{name} is paused", handler=name, state="paused", reason=reason)


@handlers.command()
@click.argument("name")
@options.as_json
def resume(name: str, as_json: bool) -> None:
    """Resume a paused handler at its position."""
    from eventlog.operation import handlers as positions

    async def change(log: EventLog) -> bool:
        async with acting(log, "handlers resume", {"handler": name}):
            return await positions.resume(log, name)

    changed = on_log(prepare(logs=False), change)
    text = f"{name} is running again" if changed else f"{name} was not paused"
    _say(as_json, text, handler=name, state="running", changed=changed)


@handlers.command()
@click.argument("old")
@click.argument("new_name", metavar="NEW", type=HandlerName())
@options.confirm
@options.as_json
def rename(old: str, new_name: str, yes: bool, as_json: bool) -> None:
    """Move a handler's position and records to another name.

    Workers release its lanes first. Then deploy the code with the new name; until then its events wait.
    """
    from eventlog.operation import handlers as positions

    asked = {"handler": old, "to": new_name}
    found = _planned("rename", asked, yes, lambda log: positions.rename(log, old, new_name, now_ms=now_ms()))
    plan = {"from": old, "to": new_name, **standing(found)}
    if as_json:
        print_json({"plan": plan, "done": yes})
        return
    print_line(f"{old} -> {new_name}: {amounts(found)}")
    print_line(f"deploy the code with the new name: until a worker declares {new_name}, its events wait")
    print_line(f"workers that still declare {old} are ignored")
    _conclude(yes, "renamed")


@handlers.command()
@click.argument("name")
@options.confirm
@options.as_json
def retire(name: str, yes: bool, as_json: bool) -> None:
    """Delete a handler's position, open events, dead letters, once-only steps, timers and states."""
    from eventlog.operation import handlers as positions

    asked = {"handler": name}
    found = _planned("retire", asked, yes, lambda log: positions.retire(log, name, now_ms=now_ms()))
    if as_json:
        seen = rfc3339(found.last_seen_ms) if found.last_seen_ms else None
        plan = {"handler": name, **standing(found), "last_seen_at": seen}
        print_json({"plan": plan, "done": yes})
        return
    print_line(
        f"{name}: {amounts(found)}; all of it is deleted, and so are the results of its once-only steps, "
        "its timers and its states"
    )
    click.echo("types that no other handler wants leave the notification subscription")
    if found.last_seen_ms:
        print_line(f"a worker last declared it at {rfc3339(found.last_seen_ms)}")
    print_line("the next worker that declares it registers it as new")
    _conclude(yes, "retired")


for command in (list_, replay, run, new, check, export_state):
    handlers.add_command(command)


def _planned(
    verb: str, asked: Mapping[str, str], yes: bool, change: Callable[[EventLog], Awaitable[None]]
) -> HandlerPosition:
    """Return the position of a handler as it is before the change, and make the change if `yes`."""
    from eventlog.errors import UnknownName
    from eventlog.operation.handlers import is_retired, position_of

    name = asked["handler"]

    async def plan(log: EventLog) -> HandlerPosition:
        try:
            found = await position_of(log, name)
        except UnknownName:
            if not (yes and verb == "retire" and await is_retired(log, name)):
                raise
            found = unregistered(name)  # an earlier command was cut off
        if yes:
            async with acting(log, f"handlers {verb}", asked, found.waiting + found.open + found.dead):
                with resumable(f"`handlers {verb} {' '.join(asked.values())} --yes`"):
                    await change(log)
        return found

    return on_log(prepare(logs=False), plan)


def _say(as_json: bool, text: str, **document: object) -> None:
    if as_json:
        print_json(document)
    else:
        print_line(text)


def _conclude(done: bool, verb: str) -> None:
    if done:
        click.echo(verb)
    else:
        print_unchanged()
