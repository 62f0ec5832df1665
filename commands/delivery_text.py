"""One line for a delivery: what became of an event at one handler, or why it waits. One for each call."""

from __future__ import annotations

from typing import TYPE_CHECKING

from commands.outage_words import away_words
from eventlog.called import read_call
from eventlog.clock import rfc3339

if TYPE_CHECKING:
    from eventlog.inspection.delivery_state import Fate
    from eventlog.inspection.explain import Explanation


def said(fate: Fate) -> str:
    """Describe a delivery state in one line."""
    text = _said(fate)
    return text if fate.away is None or fate.state == "waiting" else f"{text}; {away_words(fate.away)}"


def _said(fate: Fate) -> str:
    why = f": {fate.why}" if fate.why else ""
    at = rfc3339(fate.at_ms) if fate.at_ms else ""
    tries = f", attempts so far: {fate.tries}" if fate.tries else ""
    deaths = f", workers that died meanwhile: {fate.deaths}" if fate.deaths else ""
    match fate.state:
        case "waiting":
            return f"waiting: {_reason(fate, at)}"
        case "running":
            return f"at work{_by(fate)}{tries}{deaths}"
        case "retry":
            return f"tried again {f'at {at}' if at else 'at once'}{tries}{deaths}{why}"
        case "parked":
            behind = f" behind {fate.behind}" if fate.behind else ""
            return f"parked{behind}" + (f", which is tried again at {at}" if at else "")
        case "replay":
            return f"queued for replay{_by(fate)}"
        case "not-wanted" if fate.why:
            return f"not wanted any more: version {fate.words}, registered at {at}, does not declare its type"
        case "not-wanted":
            return "not wanted: this handler does not declare its type"
        case "before-start":
            return f"not given to it: the handler was registered at {at}, after the event"
        case "settled" if fate.is_partial:
            return "settled; how it ended is not in the part of the history that was read"
        case "settled":
            return "settled; its history is no longer kept"
        case "dead":
            return f"dead{f' since {at}' if at else ''}{why}"
        case _:
            return f"{fate.state} at {at}{why}"


def with_lag(found: Explanation, fate: Fate) -> str:
    """Describe a delivery state, and about how long a waiting event still waits behind a backlog."""
    text, behind = said(fate), found.behind.get(fate.handler)
    if (
        fate.state != "waiting"
        or fate.why in ("paused", "away", "unreadable", "open-full", "faulty", "no-worker")
        or not behind
    ):
        return text
    text += f"; the handler is behind by {behind.events:,}"
    if behind.per_s < 1:
        return text
    seconds = behind.events / behind.per_s
    left = f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
    return f"{text}, at {behind.per_s:,.0f}/s: about {left}"


def call_words(line: str) -> str:
    """Describe one call to AMPECO that the log kept."""
    call = read_call(line)
    if call is None:
        return line
    path = "" if call.operation.endswith(f" {call.path}") else f" {call.path}"
    if call.outcome == "ok" or call.status is not None:
        came_of = f"{call.status}" if call.outcome == "ok" else f"{call.status} {call.outcome}"
    else:
        came_of = call.outcome
    took = (
        ""
        if call.ms is None
        else f" in {call.ms:,} ms"
        if call.ms < 10_000
        else f" in {call.ms / 1000:.1f} s"
    )
    return f"{call.operation}{path} → {came_of}{took}"


def unreadable_text(record: str) -> str:
    """Say why a lane stops at a record, and what to do."""
    return (
        f"the lane stops at a record that this release cannot read ({record}): run the release that wrote it, "
        "or remove it (deploy/README.md, Records that cannot be read)"
    )


def _by(fate: Fate) -> str:
    return f", lane held by {fate.holder}" if fate.holder else ", no worker holds the lane now"


def _reason(fate: Fate, at: str) -> str:
    match fate.why:
        case "paused":
            return f"the handler is paused since {at}{f': {fate.words}' if fate.words else ''}"
        case "away" if fate.away is not None:
            return away_words(fate.away)
        case "unreadable":
            return unreadable_text(fate.words)
        case "open-full":
            return (
                "too many earlier events of this lane are open (retried or parked), so nothing more is read"
            )
        case "handed-out":
            return f"handed to {fate.holder}, which runs it now or next"
        case "held":
            return f"{fate.holder} holds the lane and will run it"
        case "faulty":
            return f"no worker can run this handler since {at}: {fate.words}"
        case "no-worker":
            since = f"since {at}" if at else "so far"
            return f"no worker serves queue {fate.words} with this handler {since}"
        case _:
            return "no worker holds the lane yet; one takes it within seconds"


def with_authors_words(found: Explanation, fate: Fate) -> str:
    """Describe a delivery state, with what the author said at the end of a dead one."""
    text = with_lag(found, fate)
    last = fate.attempts[-1].detail if fate.state == "dead" and fate.attempts else ""
    return f"{text}: {last}" if last else text
