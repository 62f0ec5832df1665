"""What the generated methods of resources and logs say to AMPECO, once for both clients; knows no transport.

Path values come in the order of the path: versions of one endpoint name the same id differently.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from ampeco.calls import Call
from ampeco.listing import Listing, narrowing
from ampeco.models.payload import VendorObject
from ampeco.operations import OPERATIONS, VERSIONS, Id, Operation
from ampeco.resources.answers import an_answer, an_entry, an_object
from ampeco.wire import build

Body = Mapping[str, Any] | list[Any] | VendorObject
"""What is written: JSON goes out as it is; of an object, the fields it was made with, unknown ones included."""


def operation_of(name: str, version: str | None) -> Operation:
    """The operation in a version; without one, the newest that is not deprecated.

    Raises:
        ValueError: there is no such version; the message names those that exist.
    """
    if version is None:
        return OPERATIONS[name]
    try:
        return VERSIONS[name, version]
    except KeyError:
        known = ", ".join(other for named, other in VERSIONS if named == name)
        raise ValueError(f"{name} exists in version {known}, not {version}") from None


def listing(
    name: str,
    version: str | None,
    *values: Id,
    filters: Mapping[str, Any] | None,
    include: Sequence[str],
    query: Mapping[str, Any] | None,
    per_page: int,
) -> Listing[Any]:
    """A walk through a list."""
    operation = operation_of(name, version)
    return Listing(
        operation,
        _named(operation, values),
        item=partial(an_entry, operation),
        query=narrowing(filters, include, query),
        per_page=per_page,
    )


def read(
    name: str, version: str | None, *values: Id, include: Sequence[str], query: Mapping[str, Any] | None
) -> Call[Any]:
    """Something to read that is no list."""
    operation = operation_of(name, version)
    asked = narrowing(include=include, query=query)
    return an_object(operation, (yield build(operation, _named(operation, values), query=asked)))


def write(name: str, version: str | None, *values: Id, body: Body) -> Call[Any]:
    """Something to create or to change; what AMPECO answers, None when it answers nothing."""
    operation = operation_of(name, version)
    return an_answer(operation, (yield build(operation, _named(operation, values), _plain(body))))


def delete(name: str, version: str | None, *values: Id) -> Call[None]:
    """Something to remove."""
    operation = operation_of(name, version)
    yield build(operation, _named(operation, values))


def _named(operation: Operation, values: tuple[Id, ...]) -> dict[str, Id]:
    return dict(zip(operation.parameters, values, strict=True))


def _plain(body: Body) -> Any:
    if isinstance(body, VendorObject):  # a field that did not fit when it was read goes back as it came
        return body.model_dump(mode="json", by_alias=True, exclude_unset=True, warnings=False)
    return body
