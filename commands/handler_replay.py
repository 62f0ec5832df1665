"""`handlers replay`: run kept events through a handler again, or show what it would call."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import click

from commands import options, prepare
from commands.acts import acting, resumable
from commands.handler_code import (
    kept_in,
    lookup_in,
    print_trial,
    ready_handler,
    refuse_dry_run,
    the_handler,
    trial_row,
)
from commands.options import Moment, stored_log
from commands.output import print_json, print_line, print_unchanged
from commands.spans import counted
from commands.type_names import never_seen
from eventlog.clock import now_ms, rfc3339

if TYPE_CHECKING:
    from eventlog.log import EventLog
    from eventlog.operation.replay import Replay
    from eventlog.operation.selection import Selection, Survey
    from receiver.settings import Settings

    Select: TypeAlias = Callable[[EventLog], Awaitable[Selection]]

_PATIENCE_S = 60.0


@click.command()
@click.argument("name")
@click.option(
    "--from", "from_ms", type=Moment(), metavar="TIME", help="Start of the time range; RFC 3339, or '2h ago'."
)
@click.option("--to", "to_ms", type=Moment(), metavar="TIME", help="End of the time range; default: now.")
@click.option(
    "--type", "types", multiple=True, metavar="TYPE", help="Only this notification type; repeatable."
)
@options.only_key
@click.option(
    "--dry-run",
    is_flag=True,
    help="Run the handler in this process and show what it would call; it must declare dry_run=True.",
)
@click.option(
    "--load",
    multiple=True,
    metavar="MODULE|FILE",
    help="With --dry-run: more handlers, added to the plugins.",
)
@options.trust_handler
@click.option(
    "--repeat-steps", is_flag=True, help="Include events so old that once-only steps may run again."
)
@click.option("--continue", "go_on", is_flag=True, help="Continue an unfinished replay.")
@click.option("--forget", is_flag=True, help="Drop the rest of an unfinished replay.")
@options.confirm
@options.as_json
def replay(
    name: str,
    from_ms: int | None,
    to_ms: int | None,
    types: Sequence[str],
    key: str | None,
    dry_run: bool,
    load: Sequence[str],
    trust_handler: bool,
    repeat_steps: bool,
    go_on: bool,
    forget: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Run kept events through a handler again.

    With --dry-run nothing but reads is sent to AMPECO, and no once-only step is made; what the handler does by itself
    is not stopped.
    """
    if (from_ms is not None) + go_on + forget != 1:
        raise click.UsageError("Give exactly one of --from, --continue and --forget.")
    settings = prepare()
    if from_ms is None:
        asyncio.run(_unfinished(settings, name, forget, as_json))
        return
    span = (from_ms, now_ms() if to_ms is None else to_ms)

    async def select(log: EventLog) -> Selection:
        return await _selection(log, name, span, types, key)

    if dry_run:
        asyncio.run(_dry_run(settings, select, load, trust_handler, as_json))
    else:
        asyncio.run(_replay(settings, select, types, repeat_steps, yes, as_json))


async def _replay(
    settings: Settings, select: Select, types: Sequence[str], repeat_steps: bool, yes: bool, as_json: bool
) -> None:
    from eventlog.operation.replay import begin
    from eventlog.operation.selection import survey
    from eventlog.usage import standing

    async with stored_log(settings) as log:
        selection = await select(log)
        found = await survey(log, selection)
        if not found.total:
            for line in await never_seen(log, types):
                print_line(line, err=True)
        if not repeat_steps:
            _refuse_beyond_the_ledger(log, found)
        result: dict[str, int] | None = None
        if yes and found.total:
            async with acting(
                log, "handlers replay", selection.document(), found.total, is_counted=True
            ) as act:
                result = await _feed(log, await begin(log, selection, now_ms=now_ms()), act)
        stands = await standing(log)
    plan = _plan(selection, found)
    kept_ms = stands.oldest_ms if stands is not None else None
    if kept_ms is not None and kept_ms > selection.from_ms:
        plan["kept_since"] = rfc3339(kept_ms)
    if as_json:
        print_json({"plan": plan, "done": result is not None, "result": result})
        return
    print_line(
        f"{counted(found.total, 'event')} of {selection.handler} between {plan['from']} and {plan['to']}"
    )
    for type_name, count in found.by_type.items():
        print_line(f"  {count} {type_name}")
    if found.total:
        click.echo(f"  the first of {plan['first']}, the last of {plan['last']}")
    if "kept_since" in plan:
        click.echo(f"  events before {plan['kept_since']} are no longer kept")
    if result is not None:
        _tell(result)
    elif found.total:
        click.echo("replayed events run after the events that ran since; they keep their own order", err=True)
        print_unchanged(
            "nothing was changed; --yes starts the replay, --dry-run shows what the handler would call"
        )


async def _selection(
    log: EventLog, name: str, span: tuple[int, int], types: Sequence[str], key: str | None
) -> Selection:
    from ampeco.nearest import did_you_mean
    from eventlog.internal import is_wanted
    from eventlog.operation.handlers import position_of
    from eventlog.operation.selection import Selection, types_to_replay

    wanted = set((await position_of(log, name, measure=False)).types)
    if others := sorted(name for name in set(types) if not is_wanted(wanted, name)):
        raise click.UsageError(
            f"{name} does not want {', '.join(others)}; it wants {', '.join(sorted(wanted))}"
            f"{did_you_mean(others[0], wanted) or '.'}"
        )
    return Selection(name, span[0], span[1], types_to_replay(wanted, types), key)


def _refuse_beyond_the_ledger(log: EventLog, found: Survey) -> None:
    from eventlog.errors import ChangeRefused

    oldest_ms = now_ms() - log.ledger_ms
    if found.first_ms is not None and found.first_ms < oldest_ms:
        raise ChangeRefused(
            f"once-only steps are known since {rfc3339(oldest_ms)} only and may be called again for earlier events; "
            "choose a later --from, or say --repeat-steps"
        )


async def _unfinished(settings: Settings, name: str, forget: bool, as_json: bool) -> None:
    from eventlog.operation.replay import forget as drop
    from eventlog.operation.replay import unfinished

    async with stored_log(settings) as log:
        begun = await unfinished(log, name)
        if begun is None:
            raise click.ClickException(f"no replay of {name} is unfinished; begin one with --from")
        asked = {"handler": name, "forget": forget, "continue": not forget}
        async with acting(log, "handlers replay", asked, is_counted=not forget) as act:
            if forget:
                await drop(log, name)
                result = None
            else:
                result = await _feed(log, begun, act)
    if as_json:
        print_json({"handler": name, "begun_at": rfc3339(begun.begun_ms), "done": True, "result": result})
    elif result is None:
        click.echo("replay dropped; events already queued will still run")
    else:
        _tell(result)


async def _feed(log: EventLog, begun: Replay, act: str) -> dict[str, int]:
    from eventlog.operation.replay import feed

    last = begun
    with resumable(f"`handlers replay {begun.selection.handler} --continue`"):
        async for fed in feed(log, begun, patience_s=_PATIENCE_S, act=act):
            last = fed
    return {"put": last.put, "open": last.open, "waiting": last.waiting}


async def _dry_run(
    settings: Settings, select: Select, load: Sequence[str], trusted: bool, as_json: bool
) -> None:
    from eventlog.operation.selection import events
    from workers.delivery.manual_run import try_out

    rows = []
    async with stored_log(settings) as log:
        selection = await select(log)
        found = the_handler(settings, selection.handler, load)
        refuse_dry_run(found, trusted=trusted)
        lookup, kept = lookup_in(log, found.handler.name), kept_in(log, found.handler.name)
        async with ready_handler(settings, found) as runtime:
            async for event in events(log, selection):
                trial = await try_out(runtime, event, replayed=True, lookup=lookup, kept=kept)
                if as_json:
                    rows.append(trial_row(event, trial))
                else:
                    print_trial(event, trial)
    if as_json:
        print_json(rows)


def _plan(selection: Selection, found: Survey) -> dict[str, Any]:
    return {
        "handler": selection.handler,
        "from": rfc3339(selection.from_ms),
        "to": rfc3339(selection.to_ms),
        "key": selection.key,
        "count": found.total,
        "by_type": dict(found.by_type),
        "first": None if found.first_ms is None else rfc3339(found.first_ms),
        "last": None if found.last_ms is None else rfc3339(found.last_ms),
    }


def _tell(result: dict[str, int]) -> None:
    click.echo(
        f"{result['put']} run again; {result['open']} are open already, {result['waiting']} are not settled yet"
    )
