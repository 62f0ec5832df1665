"""Facts -> `ampeco/contract/contract.json`: what the simulator and the samples read of AMPECO's contract at run time.

Left out are refusals but for their statuses, query parameters, and operations that AMPECO added later. Of these
the older facts know some bodies, which are written in the same notation.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ampeco.contract.shapes import Shape
from ampeco.facts.layout import one_entry_a_line
from ampeco.generator import operations
from ampeco.generator.facts import PACKAGE, facts

CONTRACT = PACKAGE / "contract" / "contract.json"

Row = dict[str, Any]


def outputs() -> dict[Path, str]:
    """The contract as the product holds it."""
    return {CONTRACT: one_entry_a_line(_contract())}


def _contract() -> dict[str, Row]:
    source = facts("contract.json")
    later = {
        f"{row['method']} {row['path']}": {"body": _object(row["fields"], row["takes"])}
        for row in operations.rows()
        if row["fields"] and f"{row['method']} {row['path']}" not in source["operations"]
    }
    kept = {
        "source": source["source"],
        "subscribable": source["subscribable"],
        "notifications": {
            name: {"headers": callback["headers"], "payload": callback["payload"]}
            for name, callback in source["callbacks"].items()
        },
        "operations": {name: _operation(each) for name, each in source["operations"].items()} | later,
    }
    used: dict[str, Shape] = {}
    for name in _names(kept):
        _follow(name, source["shared"], used)
    return {**kept, "shared": dict(sorted(used.items(), key=lambda each: int(each[0])))}


def _operation(each: Row) -> Row:
    kept: Row = {name: each[name] for name in ("body", "body_required", "paging") if name in each}
    answers = {status: shape for status, shape in each["answers"].items() if status.startswith("2")}
    refusals = [int(status) for status in each["answers"] if not status.startswith("2")]
    return {**kept, "answers": answers, "refusals": refusals}


def _object(fields: list[Row], takes: str) -> Shape:
    if takes == "array":
        return [_object(fields[0]["fields"], "object")]
    return {"fields": {f"{row['name']}{' *' if row.get('required') else ''}": _field(row) for row in fields}}


def _field(row: Row) -> Shape:
    inner = _object(row["fields"], "object") if row.get("fields") else None
    null = {"null": True} if row.get("nullable") else {}
    if row["type"] == "array":
        items = inner or row.get("items") or "any"
        return {"array": items, "null": True} if null else [items]
    if row["type"] == "object":
        return {"fields": {}, **null} if inner is None else {**inner, **null}
    kind = f"{row['type']}{'?' if null else ''}"
    return {"is": kind, "enum": list(row["values"])} if row.get("values") else kind


def _names(value: Any) -> Iterator[str]:
    if isinstance(value, str) and value.startswith("@"):
        yield value[1:]
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from _names(part)
    elif isinstance(value, list):
        for part in value:
            yield from _names(part)


def _follow(name: str, shared: Mapping[str, Shape], used: dict[str, Shape]) -> None:
    if name not in used:
        used[name] = shared[name]
        for inner in _names(shared[name]):
            _follow(inner, shared, used)
