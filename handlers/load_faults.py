"""Describes what a plugin raised while it was loaded, in one bounded line. Its own texts may be faulty, too."""

from __future__ import annotations

import re
import sys

from pydantic import ValidationError
from pydantic_settings import BaseSettings

from ampeco.nearest import did_you_mean
from handlers.declaration import HandlerError
from handlers.settings_faults import settings_faults

_MOST = 1_000  # characters of a line
_OURS = ("ampeco", "handlers")  # what plugins import
_NAME = re.compile(r"cannot import name '(\w+)'")


def described(error: BaseException) -> str:
    """Describe an error by its class and text; one that says what is wrong by itself, by its text alone."""
    try:
        text = missing_settings(error) if isinstance(error, ValidationError) else str(error)
        text = _misspelled(error) or text
    except Exception:  # noqa: BLE001 - plugin code too
        text = "(it cannot be described)"
    says_all = isinstance(error, ValidationError | HandlerError)
    named = text if says_all else f"{type(error).__name__}: {text}"
    return " ".join(named.split())[:_MOST].rstrip(": ")


def missing_settings(error: ValidationError, settings: type[BaseSettings] | None = None) -> str:
    """Describe the faults of a plugin's settings, without their values; arguments as for `settings_faults`."""
    return f"{error.title}: {'; '.join(settings_faults(error, settings)[:5])}"


def _misspelled(error: BaseException) -> str | None:
    """Name what a plugin may have meant to import from our modules; None for any other error."""
    if type(error) is not ImportError or (error.name or "").partition(".")[0] not in _OURS:
        return None
    asked, module = _NAME.match(str(error)), sys.modules.get(error.name or "")
    if asked is None or module is None:
        return None
    return (
        f"{error.name} has no {asked[1]!r}{did_you_mean(asked[1], getattr(module, '__all__', dir(module)))}"
    )
