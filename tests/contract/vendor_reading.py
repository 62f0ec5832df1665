"""Compares a typed object with the document it was read from, place by place, by the vendor's schema."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from ampeco.errors import FieldMisfit
from ampeco.models.payload import VendorObject
from tests.contract.vendor_bodies import flat
from tests.contract.vendor_document import GROUPS, Node


def unlike(place: str, found: Any, sent: Any, node: Node) -> Iterator[str]:
    """What of a document cannot be read as it was sent.

    Args:
        place: where it stands, for the messages.
        found: what a handler or a caller gets.
        sent: the decoded document.
        node: the vendor's schema of it.
    """
    if isinstance(sent, dict) and isinstance(found, VendorObject):
        yield from _unlike_object(place, found, sent, node)
    elif isinstance(sent, dict):
        if not isinstance(found, Mapping) or found.keys() != sent.keys():
            yield f"{place}: an object read as {type(found).__name__}"
            return
        for name, value in sent.items():
            yield from unlike(f"{place}.{name}", found[name], value, {})
    elif isinstance(sent, list):
        if not isinstance(found, Sequence) or isinstance(found, str) or len(found) != len(sent):
            yield f"{place}: a list read as {type(found).__name__}"
            return
        for one, other in zip(found, sent, strict=True):
            yield from unlike(f"{place}[]", one, other, flat(node, 0).get("items", {}))
    elif not _same(found, sent):
        yield f"{place}: {type(sent).__name__} read as {type(found).__name__}"


def fields_of(node: Node) -> dict[str, Node]:
    """Every field that the document names for an object, in any part or alternative."""
    found = dict(node.get("properties", {}))
    for group in GROUPS:
        for part in node.get(group, ()):
            found |= {name: inner for name, inner in fields_of(part).items() if name not in found}
    return found


def attributes_of(kind: type[VendorObject]) -> dict[str, str]:
    """Name on the wire -> attribute."""
    by_name = {name: name for name in kind.model_fields}
    return by_name | {field.alias or name: name for name, field in kind.model_fields.items()}


def _unlike_object(place: str, found: VendorObject, sent: dict[str, Any], node: Node) -> Iterator[str]:
    known, attributes = fields_of(node), attributes_of(type(found))
    for name in known:
        if name not in attributes:
            yield f"{place}.{name}: no attribute"
    for name, value in sent.items():
        if name not in attributes:
            if name not in known:
                yield from unlike(f"{place}.{name}", (found.model_extra or {}).get(name), value, {})
            continue
        try:
            attribute = getattr(found, attributes[name])
        except FieldMisfit:
            yield f"{place}.{name}: a misfit"
        else:
            yield from unlike(f"{place}.{name}", attribute, value, known.get(name, {}))


def _same(found: Any, sent: Any) -> bool:
    if isinstance(found, datetime):
        return found == moment_of(str(sent))
    if sent is None or isinstance(sent, bool):
        return found is sent
    if isinstance(found, bool):
        return str(found).lower() == sent
    if isinstance(found, int | float):
        return float(sent) == found
    return bool(found == str(sent))


def moment_of(text: str) -> datetime:
    """A moment as ISO 8601 has it; without a zone it counts as UTC."""
    at = datetime.fromisoformat(text)
    return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
