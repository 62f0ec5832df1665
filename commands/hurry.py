"""`events hurry`: end the wait of an event, or of an entity's events, for their next attempt."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import click

from commands import options, prepare
from commands.acts import acting
from commands.options import on_log
from commands.output import print_json, print_line, print_table, print_unchanged
from eventlog.clock import now_ms, rfc3339

if TYPE_CHECKING:
    from eventlog.inspection.explain import Explanation
    from eventlog.log import EventLog


class Wait(NamedTuple):
    """One event that waits for its next attempt at one handler, until `due_ms`."""

    handler: str
    event: str
    due_ms: int
    attempts: int
    why: str
    is_paused: bool

    def row(self) -> dict[str, object]:
        return {
            "handler": self.handler,
            "event": self.event,
            "due": rfc3339(self.due_ms),
            "attempts": self.attempts,
            "why": self.why or None,
            "paused": self.is_paused,
        }


@click.command()
@click.argument("asked", metavar="ID|ENTITY")
@click.option("--handler", metavar="NAME", help="Only at this handler.")
@options.confirm
@options.as_json
def hurry(asked: str, handler: str | None, yes: bool, as_json: bool) -> None:
    """Try an event again now, although its next attempt is due later.

    ID|ENTITY is an event, or an entity such as session:4711. A single wait ends at once. Several need --yes.
    """

    async def decide(log: EventLog) -> tuple[list[Wait], int | None]:
        found = await _waits(log, asked, handler)
        if not found or not (yes or len(found) == 1):
            return found, None
        async with acting(log, "events hurry", {"of": asked, "handler": handler}, len(found)):
            return found, await _end(log, found)

    found, ended = on_log(prepare(), decide)
    if as_json:
        rows = [wait.row() for wait in found]
        print_json({"plan": rows, "done": ended is not None, "result": {"ended": ended or 0}})
        return
    if not found:
        print_line(f"no handler waits to try {asked} again; `explain {asked}` says what became of it")
        return
    heads = ("handler", "event", "due", "attempts", "why")
    print_table(heads, [[wait.row()[head] for head in heads] for wait in found])
    if ended is None:
        print_unchanged()
        return
    print_line(f"{ended} of {len(found)} are due now; a worker takes them within seconds")
    for name in sorted({wait.handler for wait in found if wait.is_paused}):
        print_line(f"{name} is paused: `handlers resume {name}` lets it go on")


async def _waits(log: EventLog, asked: str, handler: str | None) -> list[Wait]:
    """Find the waits. A parked event waits for the event that it is parked behind."""
    from eventlog.errors import UnknownName
    from eventlog.inspection.explain import explain

    found = await explain(log, asked, handler=handler, now_ms=now_ms())
    if not found.is_known:
        raise UnknownName(f"the log has no trace of {asked}; `explain {asked}` says how far back it goes")
    waits = _waits_in(found)
    behind = {wait.event for wait in waits} - {story.event.event_id for story in found.stories}
    for event_id in sorted(behind):  # so that its own attempts and words are shown
        blocker = await explain(log, event_id, handler=handler, now_ms=now_ms())
        own = {(wait.handler, wait.event): wait for wait in _waits_in(blocker)}
        waits = [own.get((wait.handler, wait.event), wait) for wait in waits]
    return sorted(waits)


def _waits_in(found: Explanation) -> list[Wait]:
    paused = {facts.name for facts in found.handlers if facts.pause is not None}
    waits: dict[tuple[str, str], Wait] = {}
    for story in found.stories:
        for fate in story.fates:
            event_id = story.event.event_id if fate.state == "retry" else fate.behind
            if fate.state in ("retry", "parked") and event_id and fate.at_ms:
                wait = Wait(fate.handler, event_id, fate.at_ms, fate.tries, fate.why, fate.handler in paused)
                if fate.state == "retry" or (fate.handler, event_id) not in waits:
                    waits[fate.handler, event_id] = wait
    return list(waits.values())


async def _end(log: EventLog, found: list[Wait]) -> int:
    from eventlog.operation.hurry import hurry as end_waits

    together: dict[tuple[str, int], list[str]] = {}
    for wait in found:
        lane, _, stream_id = wait.event.partition("-")
        together.setdefault((wait.handler, int(lane)), []).append(stream_id)
    return sum([sum(await end_waits(log, *pair, ids)) for pair, ids in together.items()])
