"""Looks up what the contract publishes about a notification type or of an operation, as JSON Schema."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from ampeco.contract.merging import Schema, flattened
from ampeco.contract.shapes import Shape, field_name, schema_of

_SLIPS = {"charge-point": "chargePoint"}
Paging = Literal["empty-cursor", "next-link", "page"]


@dataclass(frozen=True, slots=True)
class Published:
    """What the contract says about one operation.

    Attributes:
        body: of the request; None when there is none.
        body_required: a request without a body is refused.
        answers: success status -> the answer, None for an empty one; empty for an operation that is newer than
            the contract.
        refusals: the other documented statuses.
        paging: how a listing is paged: an empty `cursor` asks for cursors, `links.next` alone leads on, or pages
            are counted. None when the contract names no parameter for it.
    """

    body: Schema | None
    body_required: bool
    answers: Mapping[int, Schema | None]
    refusals: frozenset[int]
    paging: Paging | None


@cache
def operation(method: str, path: str) -> Published | None:
    """Return what the contract says of an operation; None if it does not have it.

    Args:
        path: with AMPECO's names of the parameters, e.g. `/public-api/resources/users/v1.0/{user}`.
    """
    entry = _contract()["operations"].get(f"{method} {path}")
    if entry is None:
        return None
    return Published(
        body=_schema(entry["body"], without="ro") if "body" in entry else None,
        body_required=entry.get("body_required", False),
        answers={
            int(status): None if shape is None else _schema(shape, without="wo")
            for status, shape in entry.get("answers", {}).items()
        },
        refusals=frozenset(entry.get("refusals", ())),
        paging=entry.get("paging"),
    )


@cache
def payload(notification: str) -> Schema | None:
    """The payload of a notification type; None for a type that the contract does not describe.

    It requires `notification` of every type: some schemas of the contract do not, but nothing else names the type.
    It requires `chargePoint` where the contract requires `charge-point`, a name that it does not describe.
    """
    entry = _contract()["notifications"].get(notification)
    if entry is None:
        return None
    schema = _schema(entry["payload"], without="wo")
    required = ["notification", *(_SLIPS.get(name, name) for name in schema.get("required", ()))]
    return {**schema, "required": list(dict.fromkeys(required))}


@cache
def headers(notification: str) -> frozenset[str]:
    """The headers a notification of this type comes with."""
    entry = _contract()["notifications"].get(notification)
    return frozenset(entry["headers"] if entry else ("X-Signature", "X-Timestamp", "X-Tenant"))


@cache
def notifications() -> frozenset[str]:
    """The notification types with a documented payload."""
    return frozenset(_contract()["notifications"])


@cache
def subscribable() -> frozenset[str]:
    """The notification types that Subscribe accepts."""
    return frozenset(_contract()["subscribable"])


@cache
def field_names() -> frozenset[str]:
    """The names of all fields, in any body and answer of the contract."""
    return frozenset(_names(_contract()))


def _names(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        yield from (field_name(written)[0] for written in part.get("fields", ()))
        for inner in part.values():
            yield from _names(inner)
    elif isinstance(part, list):
        for inner in part:
            yield from _names(inner)


@cache
def _contract() -> dict[str, Any]:
    contract: dict[str, Any] = json.loads(Path(__file__).with_name("contract.json").read_bytes())
    return contract


def _schema(shape: Shape, *, without: str) -> Schema:
    return flattened(schema_of(shape, _contract()["shared"], without=without))
