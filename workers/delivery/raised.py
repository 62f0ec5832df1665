"""Reads what a handler raised or returned into plain values, and trusts none of it.

An exception is an object of its author's class. Its attributes may be missing, or of any type and size, and reading
one may run code that raises. So its class comes from `type()`, since `isinstance` also asks the object. Python's own
slots are read directly, past any override. Everything else is read under a catch, and checked.
"""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Any

from eventlog.text import REASON_CHARS, bounded
from handlers.outcomes import LONGEST_WAIT_S

_TRACE_FRAMES = 8  # from each end
_NAME_CHARS, _LINE_CHARS = 100, 300
_MOST_ERRORS = 1_000  # of a group that are looked at
_SLUG = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}", re.ASCII)

_class_name: Callable[[type], str] = type.__dict__["__qualname__"].__get__
_cause: Callable[[BaseException], BaseException | None] = BaseException.__dict__["__cause__"].__get__
_context: Callable[[BaseException], BaseException | None] = BaseException.__dict__["__context__"].__get__
_traceback: Callable[[BaseException], TracebackType | None] = BaseException.__dict__["__traceback__"].__get__
_grouped: Callable[[BaseException], tuple[BaseException, ...]] = BaseExceptionGroup.__dict__[
    "exceptions"
].__get__


def is_a(said: object, kind: type | tuple[type, ...]) -> bool:
    """Return whether an object is an instance of a class, without asking the object."""
    return issubclass(type(said), kind)


def name_of(kind: type) -> str:
    """Return the name of a class, without the classes and functions around it."""
    return bounded(str.__str__(_class_name(kind)).rpartition(".")[2], _NAME_CHARS)


def read(said: object, name: str) -> Any:
    """Return an attribute; None where it is missing, or cannot be read."""
    try:
        return getattr(said, name)
    except BaseException:  # noqa: BLE001 - the author's code
        return None


def text_in(said: object, name: str) -> str:
    """Return an attribute as text; the name of the class where it is empty or cannot be read."""
    value = read(said, name)
    try:
        if is_a(value, (bytes, bytearray)):
            text = bytes(value[: 4 * REASON_CHARS]).decode("utf-8", "backslashreplace")
        else:
            text = "" if value is None else str(value)
        return bounded(text) or name_of(type(said))
    except BaseException:  # noqa: BLE001 - the author's code
        return name_of(type(said))


def with_text(error: BaseException) -> str:
    """Return the class of an error with its text; the class alone where the text cannot be had."""
    name = name_of(type(error))
    try:
        text = str(error)
        return bounded(f"{name}: {text}") if text else name
    except BaseException:  # noqa: BLE001 - the author's code
        return name


def slug_in(said: object, name: str, otherwise: str) -> str:
    """Return an attribute that is a slug, or else the other slug."""
    value = read(said, name)
    return str.__str__(value) if is_a(value, str) and _SLUG.fullmatch(value) else otherwise


def seconds_in(said: object, name: str) -> tuple[float | None, str]:
    """Return an attribute that is a wait, from 0 to `LONGEST_WAIT_S`, and what was wrong with it.

    None as a wait leaves it to the retry policy, as does what is not a number of seconds.
    """
    value = read(said, name)
    if value is None:
        return None, ""
    if is_a(value, bool) or not is_a(value, (int, float)):
        return None, f"{name} is not a number of seconds but of the type {name_of(type(value))}"
    number: float = int.__int__(value) if is_a(value, int) else float.__float__(value)
    if number > LONGEST_WAIT_S:
        return LONGEST_WAIT_S, f"{name} is more than {LONGEST_WAIT_S / 86_400:.0f} days, so it is cut to that"
    if number < 0:
        return 0.0, f"{name} is negative, so it is 0"
    if math.isnan(number):
        return None, f"{name} is NaN"
    return float(number), ""


def is_false(value: Any) -> bool:
    """Return whether a value is False, or 0."""
    return is_a(value, int) and int.__int__(value) == 0


def errors_in(error: BaseException) -> list[BaseException]:
    """Return the error alone, or those that a group holds, without the groups."""
    found: list[BaseException] = []
    waiting = [error]
    while waiting and len(found) < _MOST_ERRORS:
        each = waiting.pop()
        if is_a(each, BaseExceptionGroup):
            waiting.extend(reversed(_grouped(each)))
        else:
            found.append(each)
    return found or [error]


def first_behind(error: BaseException, kind: type[BaseException]) -> BaseException | None:
    """Return the first error of a class: the error itself, one in its group, or one that it was raised from.

    `__context__` is ignored: an error that was raised while another one was handled is an error of its own.
    """
    seen: set[int] = set()  # causes may form a ring
    waiting: list[BaseException] = [error]
    while waiting and len(seen) < _MOST_ERRORS:
        each = waiting.pop()
        if is_a(each, kind):
            return each
        if id(each) in seen:
            continue
        seen.add(id(each))
        if (cause := _cause(each)) is not None:
            waiting.append(cause)
        if is_a(each, BaseExceptionGroup):
            waiting.extend(_grouped(each))
    return None


def cause_of(error: BaseException) -> BaseException | None:
    """Return the cause of an error; None without one."""
    return _cause(error)


def where(error: BaseException, *, behind: bool = False) -> str:
    """Return the class of an error and the lines it passed, innermost last; no messages and no values.

    Of many lines the outermost and the innermost are kept: the handler's own is among the first.

    Args:
        behind: the lines of its cause follow.
    """
    cause = _cause(error)
    lines = [*_lines(error), *(_lines(cause) if behind and cause is not None else ())]
    if cause is None:
        cause = _context(error)
    names = [bounded(_class_name(type(each)), _LINE_CHARS) for each in (error, cause) if each is not None]
    return "\n".join([" from ".join(names), *lines])


def _lines(error: BaseException) -> list[str]:
    first: list[str] = []
    last: deque[str] = deque(maxlen=_TRACE_FRAMES)
    at = _traceback(error)
    while at is not None:
        code = at.tb_frame.f_code
        line = f"{code.co_filename[-_LINE_CHARS:]}:{at.tb_lineno} in {code.co_name}"
        (first if len(first) < _TRACE_FRAMES else last).append(bounded(line, 2 * _LINE_CHARS))
        at = at.tb_next
    return [*first, *last]
