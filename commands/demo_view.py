"""The output of the demo: plain lines in a pipe, a live table on a terminal, and a summary.

It shows what it receives. It reads no state and decides nothing.
"""

from __future__ import annotations

import contextlib
import io
import sys
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from commands.demo_counts import HandlerTally, Tally, within_ms
from commands.output import print_line
from eventlog.text import printable

_SHOWN_PER_KIND = 2
_LAST_FACTS = 6


class View(Protocol):
    """Where the story is shown."""

    def say(self, text: str) -> None:
        """Show the next step of the story."""

    def show(self, tally: Tally) -> None:
        """Show the current numbers; called about once a second."""

    def tell(self, facts: Mapping[str, Any]) -> None:
        """Show a line from the worker's log."""


class PlainView:
    """One line per step, and one per second in between."""

    def __init__(self) -> None:
        self._began_s = time.monotonic()
        self._pace = _Pace()
        self._told: Counter[str] = Counter()

    def say(self, text: str) -> None:
        print_line(f"{time.monotonic() - self._began_s:5.1f} s  {text}")
        sys.stdout.flush()

    def show(self, tally: Tally) -> None:
        self.say(f"  {_progress(tally, self._pace.of(tally))}")

    def tell(self, facts: Mapping[str, Any]) -> None:
        text = _sentence(facts)
        kind = f"{facts['event']} {facts.get('operation')}"
        if text is not None and self._told[kind] < _SHOWN_PER_KIND:
            self._told[kind] += 1
            self.say(f"  {text}")


class LiveView:
    """Steps scroll; below them are the numbers and the last actions of handlers."""

    def __init__(self, live: Any) -> None:
        """Show on a running `rich.live.Live`."""
        self._live = live
        self._began_s = time.monotonic()
        self._pace = _Pace()
        self._last: deque[str] = deque(maxlen=_LAST_FACTS)

    def say(self, text: str) -> None:
        from rich.text import Text

        stamp = f"{time.monotonic() - self._began_s:5.1f} s  "
        self._live.console.print(Text.assemble((stamp, "dim"), printable(text)))

    def show(self, tally: Tally) -> None:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, padding=(0, 3, 0, 0))
        table.add_column("handler", style="bold")
        for title in ("wants", "handled", "behind", "retried", "dead", "p50"):
            table.add_column(title, justify="right")
        for handler in tally.handlers:
            dead = Text(f"{handler.dead:,}", style="bold red" if handler.dead else "")
            table.add_row(
                handler.name,
                f"{handler.wanted:,}",
                f"{handler.handled:,}",
                f"{handler.lag:,}",
                f"{handler.retried:,}",
                dead,
                _ms(handler, 0.5),
            )
        news = Text("\n".join(self._last), style="cyan")
        head = Text(_progress(tally, self._pace.of(tally)), style="bold")
        self._live.update(Group("", head, "", table, "", news))

    def tell(self, facts: Mapping[str, Any]) -> None:
        text = _sentence(facts)
        if text is not None:
            self._last.append(printable(text))


@contextlib.contextmanager
def shown() -> Iterator[View]:
    """Return a live table on a terminal that can show one, plain lines elsewhere."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # of a locale that lacks a sign of ours
    if not sys.stdout.isatty():
        yield PlainView()
        return
    try:
        from rich.console import Console
        from rich.live import Live
    except ImportError:  # it comes with the demo extra
        yield PlainView()
        return
    with Live(console=Console(), refresh_per_second=4, transient=True) as live:
        yield LiveView(live)


class _Pace:
    """How many notifications a second were sent since the last look."""

    def __init__(self) -> None:
        self._then_s, self._sent = time.monotonic(), 0

    def of(self, tally: Tally) -> float:
        now_s = time.monotonic()
        passed_s, made = now_s - self._then_s, tally.sent - self._sent
        self._then_s, self._sent = now_s, tally.sent
        return made / passed_s if passed_s > 0 else 0.0


def _progress(tally: Tally, per_s: float) -> str:
    behind = sum(handler.lag for handler in tally.handlers)
    missed = tally.pending + tally.failed
    parts = [
        f"sent {tally.sent:,} ({per_s:.0f}/s)",
        f"accepted {tally.accepted:,}",
        f"handlers behind {behind:,}",
    ]
    if missed:
        parts.append(f"not delivered yet {missed:,}")
    return "   ".join(parts)


def _sentence(facts: Mapping[str, Any]) -> str | None:
    """Describe what a handler did, for people; None for a line without news."""
    handler = facts.get("handler")
    if facts["event"] == "session.finished":
        minutes = facts.get("duration_s", 0) / 60
        kwh = (facts.get("energy_wh") or 0) / 1000
        return f"{handler}: session {facts.get('session_id')} took {kwh:.1f} kWh in {minutes:.0f} minutes"
    if facts["event"] == "action.called":
        return f"{handler}: called {facts.get('operation')} ({facts.get('key')}): {facts.get('outcome')}"
    if facts["event"] == "delivery.dead":
        return (
            f"{handler}: gave up on {facts.get('notification')} of {facts.get('key')}: {facts.get('reason')}"
        )
    return None


def summary(tally: Tally) -> list[str]:
    """Show the end of the story in numbers."""
    rows = [
        ("sent", f"{tally.sent:,}", f"{tally.resent:,} of them again, because resend-failed asked for them"),
        ("accepted", f"{tally.accepted:,}", ""),
        ("duplicates", f"{tally.duplicates:,}", "known again, and not handled twice"),
        ("refused", f"{sum(tally.refused.values()):,}", _by_name(tally.refused)),
        ("unreachable", f"{tally.unanswered:,}", "attempts while the receiver was stopped"),
    ]
    lines = ["", *(f"  {name:<11}{number:>9}   {remark}".rstrip() for name, number, remark in rows), ""]
    lines.append(
        f"  {'handler':<20}{'wants':>8}{'handled':>9}{'dead':>6}{'retried':>9}{'p50':>10}{'p99':>10}"
    )
    lines += [
        f"  {handler.name:<20}{handler.wanted:>8,}{handler.handled:>9,}{handler.dead:>6,}"
        f"{handler.retried:>9,}{_ms(handler, 0.5):>10}{_ms(handler, 0.99):>10}"
        for handler in tally.handlers
    ]
    lines.append("  (handled = done or skipped; p50, p99: time from acceptance to handled)")
    lines += ["", f"  actions called: {_by_name(tally.actions) or 'none'}", ""]
    return lines


def _by_name(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name}: {n:,}" for name, n in counts.items())


def _ms(handler: HandlerTally, share: float) -> str:
    bound = within_ms(handler.latencies, share)
    return "-" if bound is None else f"≤ {bound:,} ms"
