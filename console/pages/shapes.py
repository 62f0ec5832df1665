"""The structure of what arrives, without values: all types, and one with its fields against the contract."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from starlette.responses import Response

from ampeco.expected_shape import expected, fits
from ampeco.observed_shape import Shape
from ampeco.shape_record import decode_shape
from console.page import Page, Problem
from eventlog.shapes import shape_sizes, some_shapes

NAV = ("shapes", "Shapes")

_ROWS = 40
_MOST_BYTES = 120_000  # of records that one page reads
_FIELDS = 150
_AGAINST = {"seen": "what was seen before", "contract": "the contract"}


@dataclass(frozen=True)
class Field:
    """One field of a type.

    Attributes:
        kinds: the most frequent first.
        verdict: how it fits the contract; empty where the contract says nothing.
    """

    path: str
    kinds: str
    optional: bool
    verdict: str
    first_ms: int
    last_ms: int


async def show(page: Page) -> Response:
    """Show all types, or the one of the query. The query has `type`, and `after`: where the page before ended."""
    sizes = await shape_sizes(page.log)
    if type_ := page.asked("type"):
        return await _one(page, type_, sizes)
    names = _part(sizes, page.asked("after"))
    records = await some_shapes(page.log, [name for name in names if sizes[name] <= _MOST_BYTES])
    rows = [(name, _read(records.get(name, b""))) for name in names]
    last = max(sizes, default="")
    return page.show(
        "shapes.html",
        rows=[(name, shape, expected(name) is not None) for name, shape in rows],
        count=len(sizes),
        is_first=not page.asked("after"),
        next=names[-1] if names and names[-1] != last else "",
    )


async def _one(page: Page, type_: str, sizes: Mapping[str, int]) -> Response:
    if type_ not in sizes:
        raise Problem(404, "unknown-name", f"No receiver has looked at a notification of type {type_[:200]}.")
    if sizes[type_] > _MOST_BYTES:
        raise Problem(
            409, "too-large", "Its record is too large for a page; `events shapes --type` shows it."
        )
    shape = _read((await some_shapes(page.log, [type_])).get(type_, b""))
    if shape is None:
        raise Problem(409, "other-version", "Another version of this program wrote its record.")
    paths = [path for path in shape.paths if path]
    after = page.asked("after")
    begin = paths.index(after) + 1 if after in paths else 0
    shown = paths[begin : begin + _FIELDS]
    return page.show(
        "shape.html",
        type=type_,
        shape=shape,
        in_contract=expected(type_) is not None,
        fields=list(_fields(type_, shape, shown)),
        field_count=len(paths),
        is_first=begin == 0,
        next=shown[-1] if begin + _FIELDS < len(paths) else "",
        drifts=[(drift, _AGAINST.get(drift.against, "?")) for drift in reversed(shape.drifts[-50:])],
    )


def _part(sizes: Mapping[str, int], after: str) -> list[str]:
    """Return the types of a page, sorted, as many as may be read together."""
    found: list[str] = []
    left = _MOST_BYTES
    for name in sorted(name for name in sizes if name > after):
        size = sizes[name] if sizes[name] <= _MOST_BYTES else 0  # too large to be read at all
        if found and (size > left or len(found) == _ROWS):
            break
        found.append(name)
        left -= size
    return found


def _read(record: bytes) -> Shape | None:
    try:
        return decode_shape(record) if record else None
    except ValueError:
        return None


def _fields(type_: str, shape: Shape, paths: Iterable[str]) -> Iterable[Field]:
    contract = expected(type_)
    for path in paths:
        place, verdict = shape.paths[path], ""
        if contract is not None:
            rule = contract.get(path)
            verdict = "not documented" if rule is None else "fits" if fits(place, rule) else "other kind"
        kinds = " ".join(kind for kind, _ in place.kinds.most_common())
        yield Field(path, kinds, shape.is_optional(path), verdict, place.first_ms, place.last_ms)


ROUTES = (("/shapes", "GET", show),)
