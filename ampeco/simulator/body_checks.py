"""Checks the body of a call against what is documented of it, and refuses as AMPECO does: 422 with a list per field.

Only what is documented is checked: unknown members pass, and so does any body of an operation whose body is not
publicly documented. Which words AMPECO itself uses is not published.
"""

from collections.abc import Iterable
from typing import Any

from ampeco.operations import Field, Operation
from ampeco.simulator.model import Refused

_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
}


def check(operation: Operation, body: Any) -> None:
    """
    Args:
        body: as JSON; None when there was none.

    Raises:
        Refused: 422.
    """
    if operation.fields is None:
        return
    errors = FieldErrors()
    if operation.takes == "array":
        if not isinstance(body, list):
            raise Refused(422, "The body must be a JSON array.")
        (elements,) = operation.fields
        for index, element in enumerate(body):
            _check_object(element, elements.fields, str(index), errors)
    elif body is not None and not isinstance(body, dict):
        raise Refused(422, "The body must be a JSON object.")
    else:
        _check_object(body or {}, operation.fields, "", errors)
    errors.refuse_if_any()


class FieldErrors:
    """What is wrong with a body, field by field."""

    def __init__(self) -> None:
        self._found: dict[str, list[str]] = {}

    def add(self, field: str, fault: str) -> None:
        """Something is wrong with this field."""
        self._found.setdefault(field, []).append(f"The field {field} {fault}.")

    def refuse_if_any(self) -> None:
        """
        Raises:
            Refused: 422 with everything that was found.
        """
        if self._found:
            raise Refused(422, "The given data was invalid.", errors=self._found)


def _check_object(value: Any, fields: Iterable[Field], place: str, errors: FieldErrors) -> None:
    if not isinstance(value, dict):
        errors.add(place, "must be an object")
        return
    for known in fields:
        where = f"{place}.{known.name}" if place else known.name
        given = value.get(known.name)
        if given is None:
            if known.required and not (known.nullable and known.name in value):
                errors.add(where, "is required")
        else:
            _check_value(given, known, where, errors)


def _check_value(value: Any, known: Field, where: str, errors: FieldErrors) -> None:
    if not _is(value, known.type):
        errors.add(where, f"must be {_named(known.type)}")
    elif known.type == "array":
        for index, element in enumerate(value):
            if known.fields:
                _check_object(element, known.fields, f"{where}.{index}", errors)
            elif known.items and not _is(element, known.items):
                errors.add(f"{where}.{index}", f"must be {_named(known.items)}")
    elif known.type == "object":
        _check_object(value, known.fields, where, errors)
    elif known.values and value not in known.values:
        errors.add(where, f"must be one of {', '.join(known.values)}")


def _is(value: Any, type_: str) -> bool:
    if isinstance(value, bool):
        return type_ == "boolean"
    return isinstance(value, _TYPES.get(type_, (object,)))


def _named(type_: str) -> str:
    return f"{'an' if type_[0] in 'aio' else 'a'} {type_}"
