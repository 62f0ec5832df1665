"""What the methods of resources and logs say to AMPECO, once for both clients; knows no transport.

Path values come in the order of the path: versions of one endpoint name the same id differently.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any, Final

from ampeco.actions.encoding import moment
from ampeco.calls import Call
from ampeco.listing import Listing, narrowing
from ampeco.models.payload import VendorObject
from ampeco.newer import AsIs
from ampeco.operations import OPERATIONS, VERSIONS, Operation
from ampeco.resources.answers import an_answer, an_entry, an_object
from ampeco.wire import build

Free = VendorObject | AsIs
"""What may be written anywhere. Of an object, the fields it was made with are sent, unknown ones included."""

Body = Mapping[str, Any] | list[Any]
"""What is written where the contract describes no body."""

NOT_GIVEN: Final[Any] = object()


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
    ids: tuple[Any, ...],
    filters: Mapping[str, Any] | None,
    *,
    include: Sequence[str],
    query: Mapping[str, Any] | None,
    per_page: int,
) -> Listing[Any]:
    """A walk through a list."""
    operation = operation_of(name, version)
    return Listing(
        operation,
        _named(operation, ids),
        item=partial(an_entry, operation),
        query=narrowing(filters, include, query),
        per_page=per_page,
    )


def read(
    name: str,
    version: str | None,
    ids: tuple[Any, ...],
    include: Sequence[str],
    query: Mapping[str, Any] | None,
) -> Call[Any]:
    """Something to read that is no list."""
    operation = operation_of(name, version)
    asked = narrowing(include=include, query=query)
    return an_object(operation, (yield build(operation, _named(operation, ids), query=asked)))


def write(name: str, version: str | None, given: tuple[Any, ...], body: Any) -> Call[Any]:
    """Something to create or to change; what AMPECO answers, None when it answers nothing.

    Args:
        given: the ids, and after them the body unless `body` is given.
    """
    operation = operation_of(name, version)
    if body is NOT_GIVEN:
        if not given:
            raise TypeError(f"{name} needs a body")
        given, body = given[:-1], given[-1]
    return an_answer(operation, (yield build(operation, _named(operation, given), _plain(body))))


def delete(name: str, version: str | None, ids: tuple[Any, ...]) -> Call[None]:
    """Something to remove."""
    operation = operation_of(name, version)
    yield build(operation, _named(operation, ids))


def _named(operation: Operation, ids: Sequence[Any]) -> dict[str, Any]:
    if len(ids) != len(operation.parameters):
        expected = ", ".join(operation.parameters) or "no id"
        raise TypeError(f"{operation.name} takes {expected} in the path, not {len(ids)} ids")
    return dict(zip(operation.parameters, ids, strict=True))


def _plain(body: Any) -> Any:
    match body:
        case VendorObject():  # a field that did not fit when it was read goes back as it came
            return body.model_dump(mode="json", by_alias=True, exclude_unset=True, warnings=False)
        case datetime():
            return moment(body)
        case Mapping():
            return {name: _plain(value) for name, value in body.items()}
        case list() | tuple():
            return [_plain(value) for value in body]
    return body
