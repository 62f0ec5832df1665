"""The published contract -> rows of the table; knows the notation of `contract.json` and nothing of our names."""

from typing import Any

from ampeco.facts.shapes import Shape, field_name
from ampeco.generator.facts import facts

Row = dict[str, Any]

_GROUPS = ("all", "any", "one")
_MOMENTS = ("date-time", "datetime")
_FEW = 30  # longer sets of values (countries, currencies, notification types) are text


def operation(method: str, path: str) -> Row | None:
    """What the contract says of an endpoint, None where it does not know it."""
    found: Row | None = facts("contract.json")["operations"].get(f"{method} {path}")
    return found


def body(method: str, path: str) -> Row | None:
    """The row of a request body; its members are in `fields`. None where the contract documents no body."""
    found = operation(method, path) or {}
    return None if found.get("body") is None else row("body", found["body"])


def parameter(method: str, path: str, name: str) -> Row | None:
    """The row of a path parameter."""
    found = operation(method, path) or {"parameters": {}}
    for written, shape in found["parameters"].items():
        place, *named = written.split(" ")
        if place == "path" and named[0] == name:
            return row(name, shape)
    return None


def row(name: str, shape: Shape, *, required: bool = False) -> Row:
    """One field as in the table, without what is usual; a field that stands only in answers is left out."""
    made = {"name": name, **_described(shape), "required": required}
    made.pop("needs", None)
    return {key: value for key, value in made.items() if value or key == "type"}


def _described(shape: Shape) -> Row:
    if isinstance(shape, str) and shape.startswith("@"):
        return _described(facts("contract.json")["shared"][shape[1:]])
    if isinstance(shape, str):
        return _scalar(shape)
    if isinstance(shape, list):
        return _array(shape[0])
    if "is" in shape:
        values = [value for value in shape.get("enum", ()) if isinstance(value, str | int)]
        return {**_scalar(shape["is"]), "values": values if len(values) <= _FEW else []}
    if "array" in shape:
        return {**_array(shape["array"]), "nullable": True}
    if "fields" in shape:
        return _object(shape)
    return _group(shape)


def _scalar(text: str) -> Row:
    kind, _, form = text.removesuffix("?").partition(":")
    return {"type": kind, "nullable": text.endswith("?"), "format": "date-time" if form in _MOMENTS else ""}


def _array(items: Shape) -> Row:
    of = _described(items)
    if of["type"] == "array":
        return {"type": "array", "items": "any"}
    kept = {key: of[key] for key in ("values", "fields", "format") if of.get(key)}
    return {"type": "array", "items": of["type"], **kept}


def _object(shape: Row) -> Row:
    fields = []
    for written, part in shape["fields"].items():
        name, marks = field_name(written)
        if "ro" not in marks:
            fields.append(row(name, part, required="*" in marks))
    return {
        "type": "object",
        "nullable": shape.get("null", False),
        "fields": fields,
        "rest": row("", shape["rest"]) if shape.get("rest") else None,
        "needs": {
            *(field["name"] for field in fields if field.get("required")),
            *shape.get("also_required", ()),
        },
    }


def _group(shape: Row) -> Row:
    """Objects become one that has all their fields; required stays what every possible object requires."""
    (kind,) = (kind for kind in _GROUPS if kind in shape)
    parts = [_described(part) for part in shape[kind]]
    nullable = bool(shape.get("null")) or any(part.get("nullable") for part in parts)
    if any(part["type"] != "object" for part in parts):
        return _scalars(parts, nullable, both=kind == "all")
    both = kind == "all"
    needs = _needs([part["needs"] for part in parts], both=both)
    fields = _members([part["fields"] for part in parts], needs, both=both)
    return {"type": "object", "nullable": nullable, "fields": fields, "needs": needs}


def _needs(parts: list[set[str]], *, both: bool) -> set[str]:
    """What all parts together require, or what each alternative does."""
    return set.union(*parts) if both else set.intersection(*parts)


def _members(parts: list[list[Row]], needs: set[str], *, both: bool) -> list[Row]:
    """The fields of all parts of an object."""
    fields: dict[str, Row] = {}
    for part in parts:
        for field in part:
            known = fields.get(field["name"])
            fields[field["name"]] = field if known is None else _joined(known, field, both=both)
    return [
        {**_optional(field), "required": True} if name in needs else _optional(field)
        for name, field in fields.items()
    ]


def _scalars(parts: list[Row], nullable: bool, *, both: bool) -> Row:
    kinds = {part["type"] for part in parts} - ({"any"} if both else set())
    values = [part.get("values") for part in parts]
    known = [value for part in values for value in part or ()] if both or all(values) else []
    kind = kinds.pop() if len(kinds) == 1 else "any"
    return {"type": kind, "nullable": nullable, "values": list(dict.fromkeys(known))}


def _joined(one: Row, other: Row, *, both: bool) -> Row:
    """Two descriptions of one field: what either allows, or what both allow."""
    if one["type"] != other["type"]:
        return {"name": one["name"], "type": "any"}
    joined = {**one, **{key: value for key, value in other.items() if key not in one}}
    values = one.get("values"), other.get("values")
    if all(values):
        joined["values"] = list(dict.fromkeys([*one["values"], *other["values"]]))
    elif not both:
        joined.pop("values", None)
    if one.get("fields") and other.get("fields"):
        parts = [one["fields"], other["fields"]]
        required = [{field["name"] for field in part if field.get("required")} for part in parts]
        joined["fields"] = _members(parts, _needs(required, both=both), both=both)
    return joined


def _optional(field: Row) -> Row:
    return {key: value for key, value in field.items() if key != "required"}
