"""Bodies that the vendor's own document allows, and some that it does not, on their way to typed handlers.

A real endpoint takes them, and the code of a worker hands them to a lenient and to a strict handler of each model.
"""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime
from itertools import islice
from random import Random
from typing import Any, NamedTuple

import pytest

from ampeco.catalogue import KNOWN_TYPES
from ampeco.models.fields import read_time
from ampeco.notifications import MODELS
from eventlog.connection.embedded import EmbeddedServer
from handlers import Context, Event, handler
from tests.contract.arrival import arrived
from tests.contract.test_payloads import ENTITIES, OWN_TIMES, _at
from tests.contract.vendor_bodies import LAX, How, made, spoiled, variants
from tests.contract.vendor_document import document, examples, needs_the_document, payloads, validator
from tests.contract.vendor_reading import moment_of, unlike

pytestmark = needs_the_document

BY_CHANCE = 4
EACH_OF_WRONG = 3
"""Of so many wrong bodies one is sent."""

UNNAMED = {
    "notification",
    "chargingProfile",
    *(path.split(".")[0] for _, path in ENTITIES.values() if "." in path),
}
"""Fields without which a body says nothing, or whose text is taken for the id of an object."""

TIMES_WITHIN: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "SessionUpdateNotification": (("session", "lastUpdatedAt"),),
    "SessionMeterValuesNotification": (("meterValues", "timestamp"),),
    "SessionStartStopNotification": (("stoppedAtTimestamp",), ("startedAtTimestamp",)),
    "session.start.stop.notification": (("stoppedAtTimestamp",), ("startedAtTimestamp",)),
    "CircuitConsumptionNotification": (("currentConsumption", "lastUpdatedAt"),),
    "ChargePointSyncConfigurationNotification": (
        ("configuration", "lastUpdatedAt"),
        ("configuration", "timestamp"),
    ),
    "LocationChangedNotification": (("location", "lastUpdatedAt"), ("location", "updated_at")),
}
"""Where else a body says when it happened, in the order of how much each says."""


class Handled(NamedTuple):
    """What became of the bodies.

    Attributes:
        sound: body -> its kind, for those that the document allows.
        wrong: body -> the place where a value of a wrong kind is.
        events: (body, whether its handler was strict) -> what the handler got.
    """

    sound: dict[str, str]
    wrong: dict[str, str]
    events: dict[tuple[str, bool], Event[Any]]


def test_every_callback_is_known_and_has_a_model() -> None:
    assert set(payloads()) == set(ENTITIES)
    assert {name for name, known in KNOWN_TYPES.items() if known.confidence == "confirmed"} == set(payloads())


def test_every_moment_that_the_document_shows_is_read() -> None:
    shown = [text for form in ("date-time", "datetime", "datatime") for text in examples(document(), form)]
    moments = [text for text in shown if len(str(text)) > len("2026-11-24")]
    assert len(moments) > 20
    assert [text for text in moments if read_time(text) is None] == []


@pytest.fixture(scope="module")
def handled(valkey: EmbeddedServer) -> Handled:
    sound, wrong = dict(_sound()), dict(_wrong())
    bodies, prefix = [*sound, *wrong], f"t{uuid.uuid4().hex[:10]}:"
    events: dict[tuple[str, bool], Event[Any]] = {}
    models = {MODELS[name] for name in payloads()}
    handlers = [_handler(model, strict, events) for model in models for strict in (False, True)]
    arrived(valkey.url, prefix, handlers, bodies)
    return Handled(sound, wrong, events)


def test_every_valid_body_reaches_a_lenient_and_a_strict_handler_whole(handled: Handled) -> None:
    assert len(handled.sound) > 1_000
    faults = Counter(
        f"{fault} ({kind})"
        for body, kind in handled.sound.items()
        for strict in (False, True)
        for fault in _faults(handled.events.get((body, strict)), json.loads(body))
    )
    assert faults == {}


def test_a_value_of_a_wrong_kind_is_named_and_costs_nothing_else(handled: Handled) -> None:
    """A strict handler refuses the body. A lenient one gets it, unless what it is about cannot be read."""
    faults: Counter[str] = Counter()
    for raw, place in handled.wrong.items():
        body, event = json.loads(raw), handled.events.get((raw, False))
        name = body["notification"]
        if event is None:
            faults[f"{name}.{place}: lost"] += ENTITIES[name][1] != place
            continue
        unread = list(unlike(name, event.payload, body, payloads()[name]))
        faults.update(fault for fault in unread if not fault.startswith(f"{name}.{place}"))
        faults[f"{name}.{place}: named {event.misfits}"] += event.misfits != ((place,) if unread else ())
        faults[f"{name}.{place}: strict"] += bool(unread) == ((raw, True) in handled.events)
    assert len(handled.wrong) > 200
    assert +faults == {}


def _sound() -> Iterator[tuple[str, str]]:
    for name, node in payloads().items():
        judge = validator(node)
        for kind, body in variants(node, f"notifications {name}", by_chance=BY_CHANCE):
            body["notification"] = name
            if kind not in LAX:
                assert [error.message for error in judge.iter_errors(body)] == [], (name, kind)
            yield json.dumps(body), kind


def _wrong() -> Iterator[tuple[str, str]]:
    for name, node in payloads().items():
        whole = made(node, How(Random(name))) | {"notification": name}
        for place, body in islice(spoiled(node, whole), None, None, EACH_OF_WRONG):
            if place not in UNNAMED:
                yield json.dumps(body), place


def _handler(model: type[Any], strict: bool, events: dict[tuple[str, bool], Event[Any]]) -> Any:
    async def noting(event: Any, ctx: Any) -> None:
        if MODELS[event.type] is model:  # others read an older spelling of their type, too
            events[event.raw.decode(), strict] = event

    noting.__annotations__ = {"event": Event[model], "ctx": Context, "return": None}
    name = f"{'strict' if strict else 'lenient'}.{model.__name__.lower()}"
    return handler(name, start="oldest", concurrency=256, strict=strict)(noting)


def _faults(event: Event[Any] | None, body: dict[str, Any]) -> Iterator[str]:
    name = body["notification"]
    if event is None:
        yield f"{name}: lost"
        return
    if event.misfits:
        yield f"{name}: misfits {event.misfits}"
    entity, path = ENTITIES[name]
    named = _at(body, path)
    if event.key != (None if named is None else f"{entity}:{named}"):
        yield f"{name}: key {event.key} for {entity}:{named}"
    time = _own_time(name, body)
    if event.occurred_at != time:
        yield f"{name}: own time {event.occurred_at}, not {time}"
    yield from unlike(name, event.payload, body, payloads()[name])


def _own_time(name: str, body: dict[str, Any]) -> datetime | None:
    """When a body says that it happened; of a list the newest of its elements."""
    for field in OWN_TIMES:
        if body.get(field):
            return moment_of(body[field])
    for *steps, field in TIMES_WITHIN.get(name, ()):
        place = _at(body, ".".join(steps)) if steps else body
        texts = [each.get(field) for each in (place if isinstance(place, list) else [place or {}])]
        if times := [moment_of(text) for text in texts if text]:
            return max(times)
    return None
