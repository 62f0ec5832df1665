"""Templates and what they may call. Every text is escaped for HTML, and made visible: control characters, text
direction and overlong texts cannot change a page."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from eventlog.clock import LAST_MS, rfc3339
from eventlog.text import CUT, printable

_COMMAND = re.compile(r"`([^`]+)`")
_MOST_LINES, _MOST_COLUMNS = 2_000, 3_000
_MOST_TEXT_BYTES = 50_000  # escaped: a page has 100 KiB at most
_KINDS: Final = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}

# What a state looks like: a sign that is understood without colour, and a tone.
_SIGNS: Final = {
    "done": ("✓", "good"), "running": ("▶", "good"), "settled": ("✓", "quiet"), "serving": ("✓", "good"),
    "skipped": ("·", "quiet"), "filtered": ("·", "quiet"), "superseded": ("·", "quiet"),
    "not-wanted": ("·", "quiet"), "before-start": ("·", "quiet"),
    "waiting": ("○", "wait"), "parked": ("○", "wait"), "replay": ("↻", "wait"), "retry": ("↻", "warn"),
    "paused": ("‖", "warn"), "held": ("‖", "warn"), "isolated": ("◇", "quiet"), "open": ("○", "wait"),
    "gave-up": ("✕", "bad"), "timed-out": ("!", "warn"), "failed": ("!", "warn"), "retry-asked": ("↻", "warn"),
    "arrived": ("→", "quiet"), "happened": ("·", "quiet"), "next attempt": ("↻", "wait"),
    "begun": ("○", "wait"), "uncertain": ("?", "warn"),
    "dead": ("✕", "bad"), "not served": ("✕", "bad"), "closed": ("✓", "good"), "unproven": ("?", "warn"),
}  # fmt: skip


def environment(*, span: Callable[[float], str]) -> Environment:
    """Return the environment of all templates.

    Args:
        span: puts a number of seconds into words.
    """
    made = Environment(
        loader=PackageLoader("console", "pages"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_visible,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters.update(
        time=time_element, short=short, number=number, lines=lines, commands=commands, span=span, badge=badge,
        moment_of=moment_of, short_place=short_place, clock=clock, exact=rfc3339,
    )  # fmt: skip
    made.globals["asset"] = asset_name
    return made


def _visible(value: Any) -> Any:
    """Make a text safe to look at. Everything that a template prints passes here before it is escaped."""
    if isinstance(value, Markup) or not isinstance(value, str):
        return "" if value is None else value
    return printable(value)


def short(text: object, columns: int = 80) -> str:
    """Cut a text to a width."""
    return printable("" if text is None else str(text), columns)


def number(value: float | None) -> str:
    """Return a number with thousands separated; empty for None."""
    return "" if value is None else f"{value:,}"


def lines(text: str) -> Markup:
    """Return a text of several lines, each made visible, bounded as a whole."""
    shown, is_cut = first_lines(text)
    return shown + Markup("\n… (cut)") if is_cut else shown


def first_lines(text: str) -> tuple[Markup, bool]:
    """Return the beginning of a text of several lines, each made visible, and whether something was left out."""
    all_ = text.split("\n", _MOST_LINES)
    is_cut = len(all_) > _MOST_LINES
    shown: list[Markup] = []
    bytes_left = _MOST_TEXT_BYTES
    for line in all_[:_MOST_LINES]:
        printed = printable(line, _MOST_COLUMNS)
        is_cut = is_cut or len(line) > _MOST_COLUMNS or (printed.endswith(CUT) and not line.endswith(CUT))
        piece = escape(printed)
        bytes_left -= len(piece.encode()) + 1
        if bytes_left < 0:
            is_cut = True
            break
        shown.append(piece)
    return Markup("\n").join(shown), is_cut


def commands(sentence: str) -> Markup:
    """Show text in backticks as code."""
    return Markup(_COMMAND.sub(r"<code>\1</code>", str(escape(printable(sentence)))))  # noqa: S704 - escaped


def time_element(ms: float | None) -> Markup:
    """Return a moment in UTC, which the script shows in local time."""
    if ms is None:
        return Markup("")
    if not 0 <= ms <= LAST_MS:
        return Markup("<span>{}</span>").format(f"{ms} ms")
    exact, shown = rfc3339(int(ms)), rfc3339(int(ms), timespec="seconds")
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        exact, exact, shown.replace("T", " ").replace("Z", " UTC")
    )


def clock(ms: int) -> str:
    """Return hours and minutes of a moment in UTC."""
    return rfc3339(ms)[11:16]


def moment_of(stream_id: str) -> int | None:
    """Return the time that a stream id begins with, in Unix ms."""
    ms = stream_id.partition("-")[0]
    return int(ms) if ms.isdecimal() else None


def short_place(place: str) -> str:
    """Return a line of code with the last two parts of its path."""
    return short("/".join(place.split("/")[-2:]), 70)


def badge(state: str, text: str | None = None) -> Markup:
    """Return a state as a sign with its name."""
    sign, tone = _SIGNS.get(state, ("•", "quiet"))
    shown = printable(text or state, 60)
    return Markup('<span class="badge {}"><i aria-hidden="true">{}</i> {}</span>').format(tone, sign, shown)


@cache
def asset(name: str) -> tuple[bytes, str]:
    """Return a file of `assets` and its media type; KeyError for one that is not there."""
    kind = _KINDS[name.rpartition(".")[2]]
    found = files("console").joinpath("assets", name)
    if "/" in name or not found.is_file():
        raise KeyError(name)
    return found.read_bytes(), kind


@cache
def asset_name(name: str) -> str:
    """Return the name of an asset with a digest of it, so that a browser may keep it for ever."""
    return f"{hashlib.sha256(asset(name)[0]).hexdigest()[:12]}/{name}"
