"""`events shapes`: the structure of what arrives, as receivers have seen it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from commands import options, prepare
from commands.options import on_log
from commands.output import print_json, print_line, print_table
from commands.spans import counted
from eventlog.clock import rfc3339

if TYPE_CHECKING:
    from ampeco.observed_shape import Shape

_HEADS = ("field", "kinds", "optional", "contract", "first seen", "last seen")


@click.command()
@options.only_type
@click.option("--json-schema", "as_schema", is_flag=True, help="Print what was seen as JSON Schema.")
@options.as_json
def shapes(type_: str | None, as_schema: bool, as_json: bool) -> None:
    """Show the structure of the notifications that arrived, without values.

    Receivers look at a few bodies each second. A name that may be data, such as a key of a map, is shown as *.
    """
    from ampeco.shape_schema import schema_of_all
    from eventlog.shapes import stored_shapes

    records = on_log(prepare(logs=False), stored_shapes)
    found, unreadable = _read(records, type_)
    for name in unreadable:
        print_line(f"{name}: another version of this program wrote its record", err=True)
    if as_schema:
        print_json(schema_of_all(found))
    elif as_json:
        print_json([_document(name, shape) for name, shape in sorted(found.items())])
    elif not found:
        print_line("no receiver has looked at a notification yet")
    else:
        for name, shape in sorted(found.items()):
            _print(name, shape)


def _read(records: dict[str, bytes], type_: str | None) -> tuple[dict[str, Shape], list[str]]:
    """Return the shapes that were asked for, and the types of which this version cannot read the record."""
    from ampeco.shape_record import decode_shape
    from eventlog.errors import UnknownName

    if type_ is not None:
        if type_ not in records:
            raise UnknownName(
                f"no receiver has looked at a notification of type {type_!r}; `events shapes` shows the others",
                type_,
                records,
            )
        records = {type_: records[type_]}
    found, unreadable = {}, []
    for name, record in records.items():
        try:
            found[name] = decode_shape(record)
        except ValueError:
            unreadable.append(name)
    return found, unreadable


def _document(name: str, shape: Shape) -> dict[str, Any]:
    from ampeco.expected_shape import expected

    return {
        "type": name,
        "samples": shape.samples,
        "first_seen_at": rfc3339(shape.first_ms),
        "last_seen_at": rfc3339(shape.last_ms),
        "in_contract": expected(name) is not None,
        "complete": not shape.is_cut,
        "fields": [
            {
                "path": path,
                "kinds": dict(place.kinds),
                "optional": shape.is_optional(path),
                "contract": _verdict(name, shape, path),
                "first_seen_at": rfc3339(place.first_ms),
                "last_seen_at": rfc3339(place.last_ms),
            }
            for path, place in shape.paths.items()
            if path
        ],
        "drifts": [
            {"path": drift.path, "what": drift.what, "against": drift.against, "at": rfc3339(drift.at_ms)}
            for drift in shape.drifts
        ],
    }


def _verdict(name: str, shape: Shape, path: str) -> str | None:
    """Describe how a field fits the contract; None where the contract says nothing."""
    from ampeco.expected_shape import expected, fits

    contract = expected(name)
    if contract is None:
        return None
    rule = contract.get(path)
    if rule is None:
        return "not-documented"
    return "fits" if fits(shape.paths[path], rule) else "other-kind"


def _print(name: str, shape: Shape) -> None:
    document = _document(name, shape)
    first, last = document["first_seen_at"], document["last_seen_at"]
    more = "" if document["complete"] else "; there was more than is kept"
    print_line(f"{name}: {counted(shape.samples, 'sample')}, {first} to {last}{more}")
    if not document["in_contract"]:
        print_line("  the contract does not describe this type")
    print_table(_HEADS, [_cells(each) for each in document["fields"]])
    for drift in document["drifts"]:
        print_line(
            f"  {drift['at']} {drift['path']}: {drift['what']}, against {_WORDS.get(drift['against'], '?')}"
        )
    print_line("")


_WORDS = {"seen": "what was seen before", "contract": "the contract"}


def _cells(each: dict[str, Any]) -> tuple[object, ...]:
    kinds = " ".join(sorted(each["kinds"], key=lambda kind: -each["kinds"][kind]))
    optional = "yes" if each["optional"] else "no"
    return each["path"], kinds, optional, each["contract"], each["first_seen_at"], each["last_seen_at"]
