"""Describes why a handler is not ready, without values: a reason, a text, and a line of its code."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

from pydantic import ValidationError

from handlers.declaration import Handler
from handlers.load_faults import missing_settings
from workers.delivery.raised import first_behind, is_a, where


class LifespanHangs(Exception):
    """A lifespan does not begin in time."""


class SettingsFailed(Exception):
    """The settings of a handler cannot be read. The cause says why."""


def reason_of(error: BaseException) -> str:
    """Return the slug of why a handler is not ready."""
    if is_a(error, SettingsFailed):
        cause = error.__cause__
        if not isinstance(cause, ValidationError):
            return "settings-failed"
        kinds = {found["type"] for found in cause.errors(include_input=False, include_context=False)}
        return "settings-missing" if kinds == {"missing"} else "settings-invalid"
    return "lifespan-hangs" if is_a(error, LifespanHangs) else "lifespan-failed"


def error_text(error: BaseException) -> str:
    """Describe the fault without values: the settings that are missing, or the class of the error."""
    if is_a(error, LifespanHangs):
        return str(error)
    if is_a(error, SettingsFailed) and error.__cause__ is not None:
        error = error.__cause__
    found = first_behind(error, ValidationError)
    if isinstance(found, ValidationError):
        return missing_settings(found)
    return where(error).partition("\n")[0]


def line_of(error: BaseException, handler: Handler) -> str:
    """Return the innermost line in the handler's own file that an error passed; else the innermost of all."""
    if is_a(error, SettingsFailed):
        if isinstance(error.__cause__, ValidationError):
            return ""
        error = error.__cause__ or error
    if is_a(error, LifespanHangs):
        error = first_behind(error, asyncio.CancelledError) or error  # its lines lead to where it waited
    own = {_file_of(handler.lifespan), _file_of(handler.function), _file_of(handler.settings)} - {""}
    lines = where(error).splitlines()[1:]
    ours = [line for line in lines if any(line.startswith(f"{file}:") for file in own)]
    return (ours or lines or [""])[-1]


def are_settings_wrong(error: BaseException) -> bool:
    """Return whether the environment lacks a setting; waiting does not help, since it does not change."""
    return is_a(error, SettingsFailed) and isinstance(error.__cause__, ValidationError)


def _file_of(made: Any) -> str:
    code = getattr(inspect.unwrap(made), "__code__", None) if callable(made) else None
    return code.co_filename[-300:] if code is not None else ""
