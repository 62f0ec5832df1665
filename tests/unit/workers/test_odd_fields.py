"""One odd value in any field of a payload: a handler that does not read the field runs, and nothing else breaks."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from types import NoneType
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ampeco.catalogue import KNOWN_TYPES
from ampeco.models.payload import VendorObject
from ampeco.notifications import DEFAULT_RULES, MODELS, parse, read
from eventlog.record import StoredEvent
from handlers import Context, Event, FieldMisfit, Handler
from tests.bodies import BODIES
from workers.delivery.attempt import Attempt, Runtime, run
from workers.delivery.outcomes import Outcome

TYPED = {name: body for name, body in BODIES.items() if name.partition("/")[0] in MODELS}
ODD: tuple[Any, ...] = (
    None, "", " ", "x", "12,5", "NaN", "1_0", "12.5 kWh", "2026-11-24", "0", "-1", 0, -1, 2**63 - 1, 10**30, 1.5,
    1e308, True, False, [], [None], [[]], [1], ["x"], {}, {"0": 1, "2": 3}, {"id": 5},
    {"1": {"id": 5, "energy": 1.0}},
)  # fmt: skip
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
anything = st.sampled_from(ODD) | st.recursive(
    scalars | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a document but its type, also inside of objects and of the first element of an array."""
    if path and path != ("notification",):
        yield path
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from places(inner, (*path, name))
    elif isinstance(value, list) and value:
        yield from places(value[0], (*path, 0))


def replaced(value: Any, path: tuple[Any, ...], odd: Any) -> Any:
    if not path:
        return odd
    first, *rest = path
    if isinstance(value, dict):
        return {**value, first: replaced(value[first], tuple(rest), odd)}
    return [replaced(value[0], tuple(rest), odd), *value[1:]]


async def ran(data: dict[str, Any], function: Any) -> Outcome:
    name = data["notification"]
    body = json.dumps(data).encode()
    stored = StoredEvent(0, "1-0", name, DEFAULT_RULES.key(name, data), body, 0)
    attempt = Attempt(stored, 1, 0.0, lambda: True, lambda: None, lambda: None)  # type: ignore[arg-type, return-value]
    runtime = Runtime(Handler("h", function, {name: MODELS[name]}), "v1")
    return await run(runtime, attempt)


async def reads_nothing(event: Event[Any], ctx: Context) -> None:
    assert event.payload is not None


async def reads_everything(event: Event[Any], ctx: Context) -> None:
    """Each field is of its type, or says that it does not fit; what is None although it was sent is a misfit."""
    unread = look(event.payload, "")
    assert unread <= set(event.misfits)
    repr(event.payload)
    event.payload.model_dump_json()


def look(value: VendorObject, prefix: str) -> set[str]:
    unread = set()
    for name, field in type(value).model_fields.items():
        wire = prefix + (field.alias or name)
        try:
            found = getattr(value, name)
        except FieldMisfit as error:
            unread.add(error.field)
            continue
        if found is None:
            assert NoneType in get_args(field.annotation) or field.annotation is Any
        if isinstance(found, VendorObject):
            unread |= look(found, f"{wire}.")
        elif isinstance(found, list | tuple):
            for each in found:
                if isinstance(each, VendorObject):
                    unread |= look(each, f"{wire}[].")
    return unread


@pytest.mark.parametrize("body", TYPED.values(), ids=TYPED)
def test_one_odd_value_in_each_place_costs_at_most_what_reads_it(body: bytes) -> None:
    asyncio.run(try_each_place(read(body)))


async def try_each_place(data: dict[str, Any]) -> None:
    key = parse(json.dumps(data).encode()).key
    for number, path in enumerate(places(data)):
        for odd in ODD[number % 3 :: 3]:
            changed = replaced(data, path, odd)
            found = parse(json.dumps(changed).encode())
            outcome = await ran(changed, reads_nothing)
            if found.key is not None:
                assert outcome.kind == "done", (path, odd)
            else:
                assert outcome.reason in ("", "payload-mismatch"), (path, odd)
                assert key is None or len(path) < 3, (path, odd)
            assert (await ran(changed, reads_everything)).reason in ("", "payload-mismatch")


@settings(derandomize=True, max_examples=150)
@given(
    body=st.sampled_from([body for name, body in TYPED.items() if name.startswith("Session")]),
    which=st.integers(0, 10_000),
    odd=anything,
)
def test_any_value_in_any_place_of_a_session_raises_nothing_but_misfits(
    body: bytes, which: int, odd: Any
) -> None:
    data = read(body)
    found = list(places(data))
    changed = replaced(data, found[which % len(found)], odd)
    notification = parse(json.dumps(changed).encode())
    assert notification.type in KNOWN_TYPES
    outcome = asyncio.run(ran(changed, reads_everything))
    assert outcome.reason in ("", "payload-mismatch")
    if notification.key is not None:
        assert outcome.kind == "done"
        assert asyncio.run(ran(changed, reads_nothing)).kind == "done"
