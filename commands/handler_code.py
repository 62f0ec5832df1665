"""`handlers check` and `run`: load and try a handler without a worker."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from commands import options, prepare
from commands.acts import acting
from commands.delivery_text import call_words
from commands.options import Finite, stored_log
from commands.output import print_json, print_line, print_table
from commands.plugin_check import check_plugins
from eventlog.clock import now_ms
from receiver.errors import SettingsError

if TYPE_CHECKING:
    from eventlog.log import EventLog
    from eventlog.record import StoredEvent
    from handlers.discovery import Found
    from receiver.settings import Settings
    from workers.delivery.attempt import Runtime
    from workers.delivery.dry_run import Lookup
    from workers.delivery.manual_run import Trial


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
    """
    prepare()
    sys.path.insert(0, "")
    found = check_plugins(files, _declared, time_limit_s, _fault)
    if as_json:
        print_json({"handlers": found.handlers, "faults": found.faults, "off": found.off})
    else:
        heads = ("name", "source", "version", "order", "start", "queue", "calls", "types")
        print_table(heads, [[_cell(row[head]) for head in heads] for row in found.handlers])
        if found.off:
            print_line(f"off, until they are configured: {', '.join(found.off)}", err=True)
        for fault in found.faults:
            print_line(f"{fault['source']}: {fault['error']}", err=True)
    if found.faults:
        raise click.exceptions.Exit(1)


@click.command()
@click.argument("name")
@click.option("--event", required=True, metavar="ID|FILE", help="An event of the log, or a file with a body.")
@options.load
@click.option(
    "--for-real",
    is_flag=True,
    help="Make the handler's calls to AMPECO and its once-only steps; record no outcome.",
)
@options.trust_handler
@options.as_json
def run(
    name: str, event: str, load: Sequence[str], for_real: bool, trust_handler: bool, as_json: bool
) -> None:
    """Run a handler in this process on one event, by default as a dry run.

    A dry run sends nothing to AMPECO but reads, and makes no once-only step: a recorded one gives its result, at
    another one the run ends, unless `dry=` says how to go on. What the handler does by itself (a database, its own
    HTTP calls, its lifespan) is not stopped. So only a handler that declares `dry_run=True` is run dry. Neither kind
    writes to the log.
    """
    settings = prepare(need=("AWR_TENANT_URL", "AWR_API_TOKEN") if for_real else ())
    found = the_handler(settings, name, load)
    if not for_real:
        refuse_dry_run(found, trusted=trust_handler)
    trial, stored = asyncio.run(_run(settings, found, event, for_real))
    if as_json:
        print_json(trial_row(stored, trial))
    else:
        print_trial(stored, trial)
    if trial.outcome.kind not in ("done", "skipped", "ended"):
        sys.exit(1)


async def _run(settings: Settings, found: Found, event: str, for_real: bool) -> tuple[Trial, StoredEvent]:
    from workers.delivery.dry_run import nothing_recorded
    from workers.delivery.manual_run import try_out

    async with contextlib.AsyncExitStack() as block:
        log: EventLog | None = None
        lookup: Lookup = nothing_recorded
        stored = _from_file(settings, Path(event))
        if stored is None or (for_real and settings.redis_url is not None):  # a file needs no log
            log = await block.enter_async_context(stored_log(settings))
            lookup = lookup_in(log, found.handler.name)
            stored = stored or await _from_log(log, event)
        runtime = await block.enter_async_context(ready_handler(settings, found))
        if for_real and log is not None:
            asked = {"handler": found.handler.name, "event": event}
            await block.enter_async_context(acting(log, "handlers run --for-real", asked, 1))
        return await try_out(runtime, stored, for_real=for_real, lookup=lookup), stored


def refuse_dry_run(found: Found, *, trusted: bool) -> None:
    """Refuse to run a handler dry that does not say that it looks at `ctx.dry_run`."""
    if not found.handler.dry_run and not trusted:
        raise click.ClickException(
            f"{found.handler.name} does not declare dry_run=True, so a dry run could change things: only calls to "
            "AMPECO and once-only steps are stopped; --trust-handler runs it all the same"
        )


def lookup_in(log: EventLog, handler: str) -> Lookup:
    """Return what finds the recorded once-only steps of a handler."""
    from eventlog.step_ledger import recorded

    return lambda scope, step: recorded(log, handler, scope, step)


def ready_handler(settings: Settings, found: Found) -> AbstractAsyncContextManager[Runtime]:
    """Make a handler ready to run in this process, as long as the block lasts."""
    from workers.delivery.manual_run import ready

    token = settings.api_token.get_secret_value() if settings.api_token else None
    return ready(found, settings.tenant_url, token)


def the_handler(settings: Settings, name: str, load: Sequence[str]) -> Found:
    """Find the handler of this name in this process; refuse if it is not installed or cannot be loaded."""
    from handlers.discovery import discover

    sys.path.insert(0, "")
    with contextlib.redirect_stdout(sys.stderr):  # stdout is for the result
        discovery = discover(load=load, allow=settings.handlers_allow)
    for fault in discovery.faults:
        print_line(f"{fault.source}: {fault.message}", err=True)
    for item in discovery.found:
        if item.handler.name == name:
            return item
    if name in discovery.off:
        raise SettingsError(name, "is switched off", "configure it; handlers/README.md says how")
    known = ", ".join(item.handler.name for item in discovery.found) or "none"
    faults = "".join(f"; faulty: {fault.source}: {fault.message}" for fault in discovery.faults)
    raise SettingsError(
        name or "NAME",
        f"no such handler is installed here (there are: {known}{faults})",
        "install it, or name its file with --load",
    )


def _from_file(settings: Settings, path: Path) -> StoredEvent | None:
    from ampeco.encodings import decoded
    from ampeco.errors import PayloadError
    from ampeco.notifications import parse
    from eventlog.record import StoredEvent, encoding_mark
    from receiver.claim import rules_of

    if not path.is_file():
        return None
    body = path.read_bytes()
    try:
        text, encoding = decoded(body)
        found = parse(text, rules=rules_of(settings))
    except PayloadError as error:
        fault = f"{path}: {error.reason}; the file must hold a JSON object as AMPECO sends it"
        raise click.ClickException(fault) from None
    at_ms = now_ms()
    marks = (encoding_mark(encoding),) if encoding else ()
    return StoredEvent(0, f"{at_ms}-0", found.type, found.key, body, at_ms, marks=marks)


async def _from_log(log: EventLog, id: str) -> StoredEvent:
    from eventlog.errors import UnknownName
    from eventlog.inspection.events import read_event

    if (stored := await read_event(log, id)) is not None:
        return stored
    raise UnknownName(f"{id!r} is neither a file nor an event that is still kept; see `events list`")


def trial_row(event: StoredEvent, trial: Trial) -> dict[str, Any]:
    """One run as JSON."""
    return {
        "event": event.event_id,
        "type": event.type,
        "key": event.key,
        "outcome": trial.outcome.kind,
        "reason": trial.outcome.reason,
        "detail": trial.outcome.detail,
        "would_call": [
            {"operation": a.operation, "path": a.path, "body": a.body.decode(errors="replace")}
            for a in trial.actions
        ],
        "would_do_once": list(trial.steps),
        "called": list(trial.called),
    }


def print_trial(event: StoredEvent, trial: Trial) -> None:
    """One run as lines: the event, then one per action."""
    outcome = trial.outcome
    said = ": ".join(part for part in (outcome.kind, outcome.reason, outcome.detail) if part)
    print_line(f"{event.event_id}  {event.type}  {event.key or '-'}  {said}")
    for action in trial.actions:
        print_line(
            f"  would call {action.operation} {action.path} {action.body.decode(errors='replace')}".rstrip()
        )
    for step in trial.steps:
        print_line(f"  would do once: {step}")
    for line in trial.called:
        print_line(f"  called {call_words(line)}")


def _fault(item: Found) -> str | None:
    from workers.delivery.filter_check import filter_fault

    return filter_fault(item.handler)


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
    }


def _cell(value: Any) -> Any:
    return ",".join(value) if isinstance(value, list) else value
