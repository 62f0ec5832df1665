"""Checks of single arguments of a declaration: each says in one line what is wrong, and what to write instead."""

from __future__ import annotations

import inspect
import math
from typing import Any

from pydantic import TypeAdapter

from ampeco.entity_parts import PARTS
from ampeco.names import fault_of_queue, fault_of_type
from ampeco.nearest import did_you_mean
from ampeco.operations import OPERATIONS, check_address
from handlers.shown_value import shown

LONGEST_TIMEOUT_S = 86_400.0
LONGEST_PATIENCE_S = 365 * 86_400.0
MOST = 1_000_000  # attempts, or events at the same time


def number(name: str, value: object, most: float, *, whole: bool = False) -> str | None:
    """Check a positive number."""
    kind = int if whole else (int, float)
    # bool is a number to Python, and never what an author means.
    if type(value) is not bool and isinstance(value, kind) and 0 < value <= most:
        return None
    unit = "whole number" if whole else "number of seconds"
    return f"{name} must be positive, a {unit} of at most {most:,.0f}; it is {shown(value)}"


def attempts(most: object) -> str | None:
    """Check a limit of attempts; None is no limit."""
    return None if most is None else number("max_attempts", most, MOST, whole=True)


def backoff(base_s: object, cap_s: object, jitter: object, longest_s: float) -> str | None:
    """Check the pauses between attempts."""
    for value in (base_s, cap_s):
        if type(value) not in (int, float) or not math.isfinite(value):  # type: ignore[arg-type]
            return f"backoff needs 0 < base_s <= cap_s as numbers of seconds; one is {shown(value)}"
    if not 0 < base_s <= cap_s <= longest_s:  # type: ignore[operator]
        return f"backoff must be a Backoff with 0 < base_s <= cap_s <= {longest_s:.0f}"
    return None if type(jitter) is bool else f"backoff needs jitter=True or False; it is {shown(jitter)}"


def queue(name: object) -> str | None:
    """Check the name of an RQ queue."""
    fault = fault_of_queue(name)
    return fault and f"queue {fault}"


def types(on: object) -> str | None:
    """Check the notification types of `on`."""
    if on is None:
        return None
    if isinstance(on, str | bytes) or not isinstance(on, list | tuple | set | frozenset):
        return f'on must be a list of notification types, as on=["cdr.received"]; it is {shown(on)}'
    for name in on:
        if isinstance(name, type):
            return f"on names types as text; for a payload class, write Event[{name.__name__}] and no on="
        if fault := fault_of_type(name):
            return f"on: {shown(name)} {fault}"
    return None


def calls(named: object) -> str | None:
    """Check that `calls` is a list of text; what the text says is checked elsewhere."""
    if isinstance(named, list | tuple | set | frozenset) and all(isinstance(each, str) for each in named):
        return None
    return f'calls must be a list of operations, as calls=["charge-point.reset"]; it is {shown(named)}'


def operations(named: frozenset[str]) -> str | None:
    """Check that `calls` names actions that exist, or addresses that may be called."""
    for address in sorted(entry for entry in named if " " in entry):
        try:
            check_address(address)
        except ValueError as error:
            return f"calls has {address!r}: {error}"
    known = {operation.name for operation in OPERATIONS.values() if operation.kind != "read"}
    unknown = sorted({entry for entry in named if " " not in entry} - known)
    if not unknown:
        return None
    return f"calls names unknown operations: {', '.join(unknown)}{did_you_mean(unknown[0], known)}"


def entity_state(made: Any) -> str | None:
    """Check the type of the entities' states. No two events of a key may run at the same time."""
    model, order = made.entity_state, made.order
    if model is None:
        return None
    by_type = len(made.models) > 1 or "*" in made.models
    by_part = made.key is None and not PARTS.keys().isdisjoint(made.models)
    if order == "none" or (order == "latest" and (by_type or by_part)):
        return f"entity_state needs order='entity': with order={order!r}, events of one entity run at the same time"
    try:
        is_type = not isinstance(model, str)  # pydantic takes text for the name of a type
        TypeAdapter(model)
    except Exception:  # noqa: BLE001 - pydantic asks classes of the author's
        is_type = False
    if not is_type:
        return f"entity_state must be a type that pydantic can write as JSON; it is {shown(model)}"
    return None


def function(made: Any) -> str | None:
    """Check that calling the handler begins its work."""
    if not callable(made):
        return f"it must be a function; it is {shown(made)}"
    if inspect.isasyncgenfunction(made) or inspect.isgeneratorfunction(made):
        return "it has a `yield`, so nothing would run it; remove the `yield`"
    return None


def where(made: Any) -> str | None:
    """Check a filter."""
    if made is None or (_is_plain(made) and _takes(made, 1)):
        return None
    return "where must be a plain function of the event alone: a `def` that returns True or False"


def key(made: Any) -> str | None:
    """Check the function that makes the keys of a handler."""
    if made is None or (_is_plain(made) and _takes(made, 1)):
        return None
    return (
        "key must be a plain function of the event alone: a `def` that returns text, a whole number or None"
    )


def _is_plain(made: Any) -> bool:
    """Return whether calling a function does its work at once."""
    called = getattr(type(made), "__call__", None)  # noqa: B004 - an object may be called, too
    odd = (inspect.iscoroutinefunction, inspect.isasyncgenfunction, inspect.isgeneratorfunction)
    return callable(made) and not any(is_odd(each) for is_odd in odd for each in (made, called))


def _takes(made: Any, arguments: int) -> bool:
    """Return whether a function takes so many arguments; True where its signature cannot be read."""
    try:
        inspect.signature(made).bind(*[None] * arguments)
    except TypeError:
        return False
    except ValueError:
        pass
    return True


def lifespan(made: Any, arguments: int) -> str | None:
    """Check a lifespan, which gets as many arguments."""
    if made is None:
        return None
    if not isinstance(made, type) and hasattr(made, "__aenter__"):
        return "lifespan must be the function itself: lifespan=pool, not lifespan=pool()"
    if not callable(made):
        return f"lifespan must be a function; it is {shown(made)}"
    if inspect.isasyncgenfunction(made) or inspect.isgeneratorfunction(made):
        return "lifespan needs @asynccontextmanager of contextlib above its `async def`"
    by_contextlib = getattr(made, "__globals__", {}).get("__name__") == "contextlib"
    if inspect.iscoroutinefunction(inspect.unwrap(made) if by_contextlib else made):
        return "lifespan must be an async context manager: `yield` once in it, with @asynccontextmanager above it"
    if inspect.isgeneratorfunction(inspect.unwrap(made)):
        return "lifespan must be async: `async def` with @asynccontextmanager, not @contextmanager"
    if not _takes(made, arguments):
        takes = "the settings alone" if arguments else "no argument, since settings= is not given"
        return f"lifespan must take {takes}"
    return None
