"""Reads plans and habits from JSON; an error names the wrong place and the fix."""

import json
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from ampeco.simulator.fleet.plan import Behaviour, Fault, Plan
from ampeco.simulator.model import Refused
from ampeco.simulator.switches import Habits, as_json

T = TypeVar("T")
_ADAPTERS: Mapping[type, TypeAdapter[Any]] = {known: TypeAdapter(known) for known in (Plan, Fault, Habits)}
_INSIDE: Mapping[str, type] = {"behaviour": Behaviour, "faults": Fault, "habits": Habits}


def read_plan(given: object) -> Plan:
    """A plan, with the habits in it checked as well.

    Raises:
        Refused: 422, with what is wrong by place.
    """
    plan = _read(Plan, given)
    read_habits(plan.habits, Habits(), "habits")
    for index, fault in enumerate(plan.faults):
        read_habits(fault.habits, Habits(), f"faults.{index}.habits")
    return plan


def read_fault(given: object) -> Fault:
    """A fault.

    Raises:
        Refused: 422.
    """
    fault = _read(Fault, given)
    read_habits(fault.habits, Habits(), "habits")
    return fault


def read_habits(given: object, base: Habits, place: str = "") -> Habits:
    """These habits, with some of them changed.

    Args:
        given: the ones that change.
        place: where they stand, for the errors.

    Raises:
        Refused: 422.
    """
    if not isinstance(given, Mapping):
        raise Refused(422, "The body must be a JSON object.")
    changed = _read(Habits, {**as_json(Habits()), **given}, place)
    return replace(base, **{name: getattr(changed, name) for name in given})


def _read(wanted: type[T], given: object, place: str = "") -> T:
    if not isinstance(given, Mapping):
        raise Refused(422, "The body must be a JSON object.")
    try:
        read: T = _ADAPTERS[wanted].validate_json(json.dumps(given, default=_text), strict=True)
    except ValidationError as error:
        found: dict[str, list[str]] = {}
        for fault in error.errors(include_url=False):
            where, says = _says(wanted, fault, place)
            found.setdefault(where, []).append(says)
        raise Refused(422, "The given data was invalid.", errors=found) from None
    return read


def _says(wanted: type, fault: ErrorDetails, place: str) -> tuple[str, str]:
    where = ".".join(map(str, (place, *fault["loc"]) if place else fault["loc"]))
    if fault["type"] == "unexpected_keyword_argument":
        around = [name for name in fault["loc"][:-1] if isinstance(name, str)]
        known = fields(_INSIDE[around[-1]] if around else wanted)
        return where, f"{where} is unknown; there are {', '.join(one.name for one in known)}"
    text = fault["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
    return where, f"{where}: {text}" if where else text


def _text(value: Any) -> str:
    """A time, as TOML has them."""
    return str(value.isoformat())
