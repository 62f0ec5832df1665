"""The version of the contract with plugin authors, and the warning about parts of it that will be removed.

PROMISE.md defines the version. This module knows nothing of single handlers.
"""

from __future__ import annotations

import sys
import warnings
from contextlib import AbstractContextManager
from contextvars import ContextVar
from pathlib import Path
from typing import Final

from handlers.gathering import gathering

CONTRACT_VERSION: Final = "1.1"
"""`<major>.<minor>` of the contract that PROMISE.md lists."""

_OURS = Path(__file__).parent
_MOST = 100  # deprecations of one plugin that are kept

_collected: ContextVar[list[str] | None] = ContextVar("collected", default=None)


class HandlerDeprecation(DeprecationWarning):
    """A plugin uses something that a later contract version will not have."""


def deprecate(what: str, *, since: str, removed_in: str, instead: str) -> None:
    """Warn the plugin whose code calls a deprecated thing of ours. That thing calls this function.

    While a plugin is loaded, the text is kept for its log line and for `handlers check`. Otherwise it is a Python
    warning, which a test run shows.

    Args:
        what: the deprecated thing, as authors write it.
        since: contract version that deprecated it.
        removed_in: contract version that no longer has it.
        instead: what to write.
    """
    text = f"{what} is deprecated since contract {since} and goes in {removed_in}: use {instead}"
    level, place = _caller()
    kept = _collected.get()
    if kept is None:
        warnings.warn(text, HandlerDeprecation, stacklevel=level)
    elif len(kept) < _MOST and (line := f"{place}: {text}" if place else text) not in kept:
        kept.append(line)


def collected() -> AbstractContextManager[list[str]]:
    """Collect the deprecations of the code that is loaded inside the block."""
    return gathering(_collected)


def fault_of_contract(written_for: object) -> str | None:
    """Return why a plugin that was written for a contract version cannot rely on this one, or None."""
    parts = str(written_for).split(".")
    if type(written_for) is not str or len(parts) != 2 or not all(part.isdecimal() for part in parts):
        return f'contract must be a version as "{CONTRACT_VERSION}"; it is {written_for!r}'
    asked, here = number_of(written_for), number_of(CONTRACT_VERSION)
    if asked[0] != here[0] or asked > here:
        return (
            f"it is written for contract {written_for}, and this is {CONTRACT_VERSION} (handlers/PROMISE.md)"
        )
    return None


def number_of(version: str) -> tuple[int, int]:
    """Return a contract version as numbers that compare."""
    major, _, minor = version.partition(".")
    return int(major), int(minor)


def _caller() -> tuple[int, str]:
    """Find the first frame outside of this package: its level for a warning, and its file and line."""
    level, frame = 2, sys._getframe(2)  # noqa: SLF001 - warnings.warn counts frames in the same way
    while frame is not None and Path(frame.f_code.co_filename).is_relative_to(_OURS):
        level, frame = level + 1, frame.f_back  # type: ignore[assignment]
    return (level, "") if frame is None else (level, f"{frame.f_code.co_filename}:{frame.f_lineno}")
