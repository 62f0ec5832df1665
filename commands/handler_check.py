"""`handlers check`: load handlers, show what they declare, and find everything that is wrong with them."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from commands import options, prepare
from commands.handler_findings import findings_of
from commands.options import Finite, stored_log
from commands.output import print_json, print_line, print_table
from commands.plugin_check import check_plugins
from commands.type_names import misspelled_handlers
from receiver.errors import SettingsError

if TYPE_CHECKING:
    from commands.plugin_check import Checked
    from eventlog.registry import HandlerPosition
    from handlers.discovery import Found
    from receiver.settings import Settings

_LOG_WITHIN_S = 3.0  # for the log to answer


@click.command()
@click.argument("files", nargs=-1, metavar="[MODULE|FILE]...")
@click.option(
    "--time-limit",
    "time_limit_s",
    metavar="SECONDS",
    default=60.0,
    show_default=True,
    type=Finite(0.1, 3_600),
    help="How long one module or file may take to load.",
)
@options.as_json
def check(files: Sequence[str], time_limit_s: float, as_json: bool) -> None:
    """Load handlers and show what each declares, or what is wrong with it.

    Without files, check the installed plugins. They are loaded in a process of their own, which prints to stderr.
    Each fault is one line; then the exit code is 1. Where a log can be reached, the handlers are compared with it.
    """
    settings = prepare()
    sys.path.insert(0, "")
    found = check_plugins(files, _declared, time_limit_s, findings_of)
    compared, notes = _compared(settings, found)
    faults = [*found.faults, *compared]
    if not files:
        notes += misspelled_handlers(settings, found.names)
    if as_json:
        print_json(
            {
                "handlers": found.handlers,
                "faults": faults,
                "notes": notes,
                "off": found.off,
                "deprecated": found.deprecated,
            }
        )
    else:
        heads = ("name", "source", "version", "order", "start", "queue", "calls", "types")
        if found.handlers:
            print_table(heads, [[_cell(row[head]) for head in heads] for row in found.handlers])
        if found.off:
            print_line(f"off, until they are configured: {', '.join(found.off)}", err=True)
        for source, uses in found.deprecated.items():
            for use in uses:
                print_line(f"{source}: {use}", err=True)
        for note in notes:
            print_line(f"note: {note}", err=True)
        for fault in faults:
            print_line(_line(fault), err=True)
    if faults:
        raise click.exceptions.Exit(1)


def _compared(settings: Settings, found: Checked) -> tuple[list[dict[str, Any]], list[str]]:
    """Compare what is declared with the log; return the faults, and what else a deploy changes.

    Without a log there is nothing to compare: a plugin is also checked where there is none.
    """
    from redis.exceptions import RedisError

    from commands.declaration_changes import changes
    from eventlog.connection.reasons import reason_of

    async def read() -> list[HandlerPosition]:
        async with asyncio.timeout(_LOG_WITHIN_S), stored_log(settings) as log:
            return await log.handlers(measure=False)

    try:
        recorded = asyncio.run(read())
    except SettingsError:
        return [], []
    except TimeoutError:
        return [], ["nothing was compared with the log: AWR_REDIS_URL gives no answer"]
    except (RedisError, OSError) as error:
        why = reason_of(error).slug if isinstance(error, RedisError) else type(error).__name__
        return [], [f"nothing was compared with the log: AWR_REDIS_URL: {why}"]
    faults, notes = [], []
    sources = {row["name"]: row for row in found.handlers}
    declared = [{**row, "queue": settings.queues.get(name, row["queue"])} for name, row in sources.items()]
    for change in changes(recorded, declared, found.names):
        said = f"handler {change.handler!r}: {change.says}"
        if change.loses:
            row = sources[change.handler]
            faults.append(_fault(row["source"], said, row["where"]))
        else:
            notes.append(said)
    return faults, notes


def _fault(source: str, error: str, where: str | None = None) -> dict[str, Any]:
    return {"source": source, "error": error, "where": where}


def _line(fault: Mapping[str, Any]) -> str:
    """Return a fault as one line, which begins with its place in the code where that is known."""
    source, where = str(fault["source"]), fault["where"]
    if where is None:
        return f"{source}: {fault['error']}"
    named = "" if str(where).rpartition(":")[0] == source else f" ({source})"
    return f"{where}: {fault['error']}{named}"


def _declared(item: Found) -> dict[str, Any]:
    handler = item.handler
    return {
        "name": handler.name,
        "source": item.source,
        "version": item.version,
        "types": list(handler.types),
        "order": handler.order,
        "start": handler.start,
        "queue": handler.queue,
        "isolation": handler.isolation,
        "calls": sorted(handler.calls),
        "max_attempts": handler.max_attempts,
        "give_up_after_s": handler.give_up_after_s,
        "timeout_s": handler.timeout_s,
        "dry_run": handler.dry_run,
        "key": handler.key_name,
        "throttle": None if handler.throttle is None else handler.throttle.rate,
    }


def _cell(value: Any) -> Any:
    return ",".join(value) if isinstance(value, list) else value
