"""`handlers run`: try a handler without a worker; also what a replay needs to run one dry."""

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
from commands.options import stored_log
from commands.output import print_json, print_line
from eventlog.clock import now_ms
from receiver.errors import SettingsError

if TYPE_CHECKING:
    from eventlog.log import EventLog
    from eventlog.record import StoredEvent
    from handlers.discovery import Found
    from receiver.settings import Settings
    from workers.delivery.attempt import Runtime
    from workers.delivery.dry_run import Lookup
    from workers.delivery.manual_run import Kept, Trial


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

    A dry run sends only reads to AMPECO and makes no once-only step. A recorded step gives its result; at another one
    the run ends, unless `dry=` says how to go on. What the handler does by itself (a database, its own HTTP calls,
    its lifespan) is not stopped, so it must declare `dry_run=True` or be trusted with --trust-handler. Neither kind
    records an outcome or a once-only step: a worker may make the same calls again. `audit list` shows runs for real.
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
    from workers.delivery.manual_run import nothing_kept, try_out

    async with contextlib.AsyncExitStack() as block:
        log: EventLog | None = None
        lookup: Lookup = nothing_recorded
        kept: Kept = nothing_kept
        stored = _from_file(settings, Path(event))
        if stored is None or (for_real and settings.redis_url is not None):  # a file needs no log
            log = await block.enter_async_context(stored_log(settings))
            lookup, kept = lookup_in(log, found.handler.name), kept_in(log, found.handler.name)
            stored = stored or await _from_log(log, event)
        runtime = await block.enter_async_context(ready_handler(settings, found))
        if for_real and log is not None:
            asked = {"handler": found.handler.name, "event": event}
            await block.enter_async_context(acting(log, "handlers run --for-real", asked, 1))
        return await try_out(runtime, stored, for_real=for_real, lookup=lookup, kept=kept), stored


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


def kept_in(log: EventLog, handler: str) -> Kept:
    """Return what finds the timers and the state that a handler keeps of an entity."""
    from eventlog.entity_records import records_of

    async def kept(key: str, lane: int) -> tuple[dict[str, str], str]:
        record = (await records_of(log, handler, {key: lane}))[key]
        return {timer.name: timer.generation for timer in record.timers}, record.state

    return kept


def ready_handler(settings: Settings, found: Found) -> AbstractAsyncContextManager[Runtime]:
    """Make a handler ready to run in this process, as long as the block lasts."""
    from workers.delivery.manual_run import ready

    token = settings.api_token.get_secret_value() if settings.api_token else None
    return ready(found, settings.tenant_url, token)


def the_handler(settings: Settings, name: str, load: Sequence[str]) -> Found:
    """Find the handler of this name in this process; refuse if it is not installed or cannot be loaded."""
    from ampeco.nearest import did_you_mean
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
    installed = [item.handler.name for item in discovery.found]
    known = ", ".join(installed) or "none"
    faults = "".join(f"; faulty: {fault.source}: {fault.message}" for fault in discovery.faults)
    raise SettingsError(
        name or "NAME",
        f"no such handler is installed here (there are: {known}{faults})",
        f"install it, or name its file with --load{did_you_mean(name, [*installed, *discovery.off])}",
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
    """Return one run as JSON."""
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
        "would_set_timers": {
            name: timer.delay_s for name, timer in trial.timers.items() if timer is not None
        },
        "would_cancel_timers": [name for name, timer in trial.timers.items() if timer is None],
        "would_keep_state_bytes": None if trial.state is None else len(trial.state.encode()),
    }


def print_trial(event: StoredEvent, trial: Trial) -> None:
    """Yield one run as lines: the event, then one line per action."""
    outcome = trial.outcome
    said = ": ".join(part for part in (outcome.kind, outcome.reason, outcome.detail) if part)
    print_line(f"{event.event_id}  {event.type}  {event.key or '-'}  {said}")
    for action in trial.actions:
        print_line(
            f"  would call {action.operation} {action.path} {action.body.decode(errors='replace')}".rstrip()
        )
    for step in trial.steps:
        print_line(f"  would do once: {step}")
    for name, timer in trial.timers.items():
        print_line(
            f"  would cancel timer {name!r}"
            if timer is None
            else f"  would set timer {name!r}, due {timer.delay_s:g} s later"
        )
    if trial.state is not None:
        print_line(f"  would keep a state of {len(trial.state.encode())} bytes")
    for line in trial.called:
        print_line(f"  called {call_words(line)}")
