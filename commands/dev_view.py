"""The output of `dev`: one line per outcome, action and log line of a handler, and its own output.

It reads the worker's log lines, and leaves out lines that do not concern the author of a handler.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from commands.child_output import facts_of
from commands.output import print_line
from eventlog.text import printable
from workers.delivery import outcomes

_TRACE_LINES = 5
_OUR_WAY = str(Path(outcomes.__file__).parents[1])
_ENDS = ("delivery.completed", "delivery.skipped", "delivery.retry_scheduled", "delivery.dead")
_LOUD = ("warning", "error", "critical")
_BOUND = frozenset(
    {"event", "level", "logger", "timestamp", "event_id", "notification", "key", "handler", "attempt"}
)
_COLOURS = {
    "done": "green",
    "retry": "yellow",
    "dead": "red",
    "faulty": "red",
    "blocked": "red",
    "action": "cyan",
    "timer": "cyan",
    "ready": "green",
}


class DevView:
    """Prints to the terminal, or into a pipe.

    Attributes:
        last_event: id of the event that a handler had last; empty before the first.
    """

    def __init__(self) -> None:
        self.last_event = ""

    def say(self, text: str) -> None:
        """Print a message of the command itself."""
        self._print("dev", text)

    def line(self, line: str) -> None:
        """Print one line of the worker's output."""
        facts = facts_of(line)
        if facts is None:
            if line.strip():
                print_line(f"          {line}")
            return
        shown = self._row(facts)
        if shown is not None:
            self._print(*shown)
            for place in _places(facts):
                click.echo(f"          {click.style(printable(place), dim=True)}")

    def _row(self, facts: Mapping[str, Any]) -> tuple[str, str] | None:
        """Return the first word and the rest of the line, or None to leave it out."""
        event = str(facts["event"])
        if event in _ENDS and str(facts.get("notification")).partition(".")[0] != "receiver":
            self.last_event = str(facts.get("event_id", ""))
        if event in _OUTCOMES:
            word, rest = _OUTCOMES[event]
            return word, rest(facts)
        level = str(facts.get("level"))
        if "event_id" in facts and "handler" in facts:
            return level if level in _LOUD else "log", f"{_who(facts)}  {event} {_others(facts)}"
        return (level, f"{event} {_others(facts)}") if level in _LOUD else None

    def _print(self, word: str, text: str) -> None:
        stamp = datetime.now().astimezone().strftime("%H:%M:%S")
        shown = click.style(f"{word:<8}", fg=_COLOURS.get(word), bold=word != "log")
        click.echo(f"{click.style(stamp, dim=True)}  {shown} {printable(text.rstrip())}")


def _who(facts: Mapping[str, Any]) -> str:
    name = str(facts.get("notification"))
    shown = "timer" if name.startswith("receiver.timer:") else name
    return f"{facts.get('handler')}  {shown} {facts.get('key') or '(no key)'}"


def _because(facts: Mapping[str, Any]) -> str:
    reason, detail = facts.get("reason"), facts.get("detail")
    if detail and reason and detail != reason:
        return str(detail) if reason in ("skipped", "error") else f"{reason}: {detail}"
    return str(detail or reason or "")


def _places(facts: Mapping[str, Any]) -> list[str]:
    """Return where it failed, without the frames that lead to the handler."""
    lines = str(facts.get("where") or "").splitlines()[1:]
    theirs = [line for line in lines if not line.startswith(_OUR_WAY)]
    return theirs if len(theirs) <= _TRACE_LINES else [theirs[0], *theirs[1 - _TRACE_LINES :]]


def _blocked(facts: Mapping[str, Any]) -> str:
    at = f" at {facts['where']}" if facts.get("where") else ""
    fix = "use `await` there, or a `def` handler, which may block"
    return f"{facts.get('handler') or 'a handler'} held the event loop{at}, so the worker starts again; {fix}"


def _others(facts: Mapping[str, Any]) -> str:
    return " ".join(f"{name}={value!r}" for name, value in facts.items() if name not in _BOUND)


_OUTCOMES: Mapping[str, tuple[str, Callable[[Mapping[str, Any]], str]]] = {
    "delivery.completed": ("done", _who),
    "delivery.skipped": ("skipped", lambda facts: f"{_who(facts)}  ({_because(facts)})"),
    "delivery.retry_scheduled": (
        "retry",
        lambda facts: (
            f"{_who(facts)}  attempt {facts.get('attempt')} failed ({_because(facts)}), "
            f"again in {facts.get('after_s')} s"
        ),
    ),
    "delivery.dead": (
        "dead",
        lambda facts: f"{_who(facts)}  given up after attempt {facts.get('attempt')} ({_because(facts)})",
    ),
    "action.called": (
        "action",
        lambda facts: f"{_who(facts)}  {facts.get('operation')}: {facts.get('outcome')}",
    ),
    "timer.set": (
        "timer",
        lambda facts: f"{_who(facts)}  {facts.get('timer')!r} falls due in {facts.get('after_s')} s",
    ),
    "timer.cancelled": ("timer", lambda facts: f"{_who(facts)}  {facts.get('timer')!r} is cancelled"),
    "worker.loop_blocked": ("blocked", _blocked),
    "handler.faulty": ("faulty", lambda facts: f"{facts.get('source')}: {facts.get('error')}"),
    "worker.started": (
        "ready",
        lambda facts: f"handlers: {', '.join(facts.get('handlers') or ()) or 'none'}",
    ),
}
