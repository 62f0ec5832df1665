"""The finding of a check: a status, the fact, and what to do about it. No text holds a secret."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias, TypeVar

Status: TypeAlias = Literal["ok", "warn", "fault", "unknown"]


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes:
        what: the fact, in a few words.
        fix: what to do about it; empty for `ok`.
    """

    status: Status
    what: str
    fix: str = ""


class NotChecked(Exception):
    """A check lacks what it needs: a setting, or what an earlier check found broken. The text says what."""


_About = TypeVar("_About")
Check: TypeAlias = Callable[[_About], Awaitable[Finding]]
"""Returns a finding. May raise NotChecked, and what Redis and AMPECO raise; both end as a finding, too."""


def ok(what: str) -> Finding:
    """Return a finding of something without fault."""
    return Finding("ok", what)


def warn(what: str, fix: str) -> Finding:
    """Return a finding of something that works, but not as it should, or not for long."""
    return Finding("warn", what, fix)


def fault(what: str, fix: str) -> Finding:
    """Return a finding of something that is broken, or breaks a promise."""
    return Finding("fault", what, fix)


def unknown(what: str, fix: str = "") -> Finding:
    """Return a finding of something that cannot be checked from here."""
    return Finding("unknown", what, fix)
