"""The older facts' description of a body -> fields as rows of the table, corrected by the contract."""

import re
from typing import Any

from ampeco.generator.facts import judgements

WHOLE_BODY = "(body is a JSON array)"
VARIABLES = "variables"

_KEYS = (
    "name",
    "type",
    "required",
    "nullable",
    "values",
    "format",
    "says",
    "items",
    "fields",
)  # of the table
_MEMBER = re.compile(r"(?P<name>\w+):(?P<type>\w+)(?P<flags>(?: required| nullable)*)(?: (?P<values>\S+))?")
_ITEMS = re.compile(r"items \{(?P<members>[^{}]*)\}")
_A_TIME = re.compile(r"^(?:date-time|ISO 8601(?: date-time)?)(?:; )?")

Row = dict[str, Any]


def fields(operation: str, body: dict[str, Row] | None) -> tuple[list[Row] | None, str]:
    """Rows of a body and what it is (`object` or `array`); no rows but None when it is not publicly documented."""
    if body is None:
        return None, "object"
    decided = judgements()["fields"].get(operation, {})
    if WHOLE_BODY in body:
        return [_field(VARIABLES, VARIABLES, body[WHOLE_BODY], decided)], "array"
    return _members("", body, decided), "object"


def corrected(older: list[Row] | None, contract: list[Row]) -> list[Row]:
    """Fields as the contract has them; ours are the words and formats, and fields that only older facts know."""
    known = {field["name"]: field for field in older or ()}
    made = []
    for field in contract:
        ours = known.pop(field["name"], {})
        row = field | {key: ours[key] for key in ("says", "format") if ours.get(key)}
        if field.get("fields") or ours.get("fields"):
            row["fields"] = corrected(ours.get("fields"), field.get("fields", []))
        made.append(row)
    return [
        *made,
        *({key: value for key, value in row.items() if key != "required"} for row in known.values()),
    ]


def _members(prefix: str, body: dict[str, Row], decided: dict[str, Row]) -> list[Row]:
    """Fields whose dotted names start with the prefix, their members inside them."""
    made = []
    for dotted, facts in body.items():
        name = dotted.removeprefix(prefix)
        if not dotted.startswith(prefix) or "." in name or decided.get(dotted, {}).get("left_out"):
            continue
        field = _field(name, dotted, facts, decided)
        below = facts.get("properties") or {
            inner.removeprefix(f"{dotted}."): of
            for inner, of in body.items()
            if inner.startswith(f"{dotted}.")
        }
        if below:
            field["fields"] = _members("", below, _below(dotted, decided))
        made.append(field)
    return made


def _below(dotted: str, decided: dict[str, Row]) -> dict[str, Row]:
    return {
        name.removeprefix(f"{dotted}."): of for name, of in decided.items() if name.startswith(f"{dotted}.")
    }


def _field(name: str, dotted: str, facts: Row, decided: dict[str, Row]) -> Row:
    """A row without what is usual, as in the table."""
    note, ours = facts.get("note", ""), decided.get(dotted, {})
    kind, _, items = facts["type"].partition(" of ")
    items_noted = _ITEMS.search(note)
    members = ours.get("members") or (items_noted and items_noted["members"].split(", ")) or []
    row = {
        "name": name,
        "type": kind.removesuffix(" (by name)"),
        "required": facts["required"] is True,
        "nullable": facts.get("nullable", False),
        "values": ours.get("values", facts.get("enum", [])),
        "format": ours.get("format") or ("date-time" if _A_TIME.match(note) else ""),
        "says": ours.get("says", "" if items_noted else _A_TIME.sub("", note)),
        "items": ours.get("items") or items or ("object" if members and kind == "array" else ""),
        "fields": [_member(text, _below(dotted, decided)) for text in members],
    }
    return {key: value for key, value in row.items() if value or key == "type"}


def _member(text: str, decided: dict[str, Row]) -> Row:
    """From a judgement's or a note's `name:type required nullable A|B`."""
    found = _MEMBER.fullmatch(text)
    if found is None:
        raise ValueError(f"cannot read the member {text!r}")
    row = {
        "name": found["name"],
        "type": found["type"],
        "required": "required" in found["flags"],
        "nullable": "nullable" in found["flags"],
        "values": found["values"].split("|") if found["values"] else [],
        **decided.get(found["name"], {}),
    }
    return {key: value for key, value in row.items() if value or key == "type"}
