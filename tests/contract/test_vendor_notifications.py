"""Bodies that the vendor's own document allows, and some that it does not, on their way to typed handlers.

A real endpoint takes them, and the code of a worker hands them to a lenient and to a strict handler of each model.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from random import Random
from typing import Any, NamedTuple

from ampeco.catalogue import KNOWN_TYPES
from ampeco.models.fields import read_time
from ampeco.notifications import MODELS
from eventlog.connection.embedded import EmbeddedServer
from eventlog.inspection.events import read_counts
from handlers import Context, Event, handler
from tests.contract.test_payloads import ENTITIES, OWN_TIMES, _at, _parts, _post
from tests.contract.vendor_bodies import How, made, spoiled, variants
from tests.contract.vendor_document import document, examples, needs_the_document, payloads, validator
from tests.contract.vendor_reading import moment_of, unlike
from tests.door import door
from tests.harness import declaration, drained, opened

pytestmark = needs_the_document

BY_CHANCE = 12
KINDS_OF_ITS_OWN = {"examples", "unknown fields", "numbers as text", "numeric texts as numbers"}
"""Whose documents need not be valid by the letter."""

CARRIED = {
    "notification",
    "chargingProfile",
    *(path.split(".")[0] for _, path in ENTITIES.values() if "." in path),
}
"""Fields without which a body says nothing else; a text in place of an object is taken for its id."""

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
"""Where else, in the order of how much each says."""


class Sent(NamedTuple):
    """A body, and what was done to it."""

    body: dict[str, Any]
    kind: str


def test_every_subscribable_type_is_known_and_every_callback_has_a_model() -> None:
    called = payloads()
    assert set(called) == set(ENTITIES)
    assert set(called) <= set(KNOWN_TYPES)
    assert {name for name, known in KNOWN_TYPES.items() if known.confidence == "confirmed"} == set(called)


def test_every_moment_that_the_document_shows_is_read() -> None:
    shown = [text for form in ("date-time", "datetime", "datatime") for text in examples(document(), form)]
    moments = [text for text in shown if len(str(text)) > len("2026-11-24")]
    assert len(moments) > 20
    assert [text for text in moments if read_time(text) is None] == []


def _sound() -> Iterator[Sent]:
    for name, node in payloads().items():
        judge = validator(node)
        for kind, body in variants(node, f"notifications {name}", by_chance=BY_CHANCE):
            body["notification"] = name
            if kind not in KINDS_OF_ITS_OWN:
                assert [error.message for error in judge.iter_errors(body)] == [], (name, kind)
            yield Sent(body, kind)


def test_every_valid_body_reaches_a_lenient_and_a_strict_handler_whole(
    valkey: EmbeddedServer, prefix: str
) -> None:
    sent = {json.dumps(each.body): each for each in _sound()}
    faults: Counter[str] = Counter()
    seen: Counter[tuple[str, bool]] = Counter()

    def judge(event: Event[Any], strict: bool) -> None:
        seen[event.type, strict] += 1
        body, kind = sent[event.raw.decode()]
        faults.update(f"{fault} ({kind})" for fault in _faults(event, body))

    dead, quarantined = _through(valkey, prefix, list(sent), judge)
    print(f"\n{len(payloads())} types, {len(sent)} documents")
    assert not faults, "\n" + "\n".join(f"{n} {fault}" for fault, n in sorted(faults.items()))
    assert (dead, quarantined) == (Counter(), 0)
    named = Counter(each.body["notification"] for each in sent.values())
    assert seen == Counter({(name, strict): n for name, n in named.items() for strict in (False, True)})


def test_a_value_of_a_wrong_kind_is_named_and_costs_nothing_else(valkey: EmbeddedServer, prefix: str) -> None:
    """A strict handler refuses the body; a lenient one gets it, unless what it is about cannot be read."""
    sent: dict[str, tuple[str, str]] = {}
    for name, node in payloads().items():
        whole = made(node, How(Random(name))) | {"notification": name}
        for place, body in spoiled(node, whole):
            if place not in CARRIED:
                sent[json.dumps(body)] = (name, place)
    faults: Counter[str] = Counter()
    seen: dict[bool, set[str]] = {False: set(), True: set()}

    def judge(event: Event[Any], strict: bool) -> None:
        raw = event.raw.decode()
        name, place = sent[raw]
        seen[strict].add(raw)
        whole = list(unlike(name, event.payload, json.loads(raw), payloads()[name]))
        elsewhere = [fault for fault in whole if not fault.startswith(f"{name}.{place}")]
        if elsewhere:
            faults[f"{place} of {name} costs {elsewhere}"] += 1
        if event.misfits != ((place,) if whole else ()):
            faults[f"{place} of {name} is not named: {event.misfits}, {whole}"] += 1

    dead, quarantined = _through(valkey, prefix, list(sent), judge)
    lost = {sent[raw] for raw in sent.keys() - seen[False]}
    print(f"{len(sent)} documents")
    assert not faults, "\n" + "\n".join(f"{n} {fault}" for fault, n in sorted(faults.items()))
    assert quarantined == 0
    assert lost <= {(name, path) for name, (_, path) in ENTITIES.items()}
    assert seen[True] == set()
    assert sum(n for name, n in dead.items() if name.startswith("strict")) >= len(sent)


def _faults(event: Event[Any], body: dict[str, Any]) -> Iterator[str]:
    name = event.type
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


def _through(valkey: EmbeddedServer, prefix: str, bodies: list[str], judge: Any) -> tuple[Counter[str], int]:
    """Send the bodies, run a lenient and a strict handler of each model; what is dead by handler, and quarantined."""
    models = {MODELS[name] for name in payloads()}
    handlers = [_handler(model, strict, judge) for model in models for strict in (False, True)]
    dead: Counter[str] = Counter()

    async def declare() -> None:
        async with opened(valkey.url, prefix) as log:
            await log.declare([declaration(one) for one in handlers])

    async def handle() -> None:
        async with opened(valkey.url, prefix) as log:
            await drained(log, *handlers)
            assert (await read_counts(log)).accepted == len(bodies)
            for found in await log.handlers():
                assert found.open == 0, found.name
                dead.update({found.name: found.dead} if found.dead else {})

    asyncio.run(declare())
    with door(valkey.url, prefix) as front, ThreadPoolExecutor(4) as senders:
        answered = senders.map(lambda part: _post(front.port, part), _parts(bodies, 4))
        assert Counter(status for each in answered for status in each) == {202: len(bodies)}
        quarantined = int(front.metric("awr_events_quarantined_total"))
    asyncio.run(handle())
    return dead, quarantined


def _handler(model: type[Any], strict: bool, judge: Any) -> Any:
    async def judging(event: Any, ctx: Any) -> None:
        if MODELS[event.type] is model:
            judge(event, strict)

    judging.__annotations__ = {"event": Event[model], "ctx": Context, "return": None}
    name = f"{'strict' if strict else 'lenient'}.{model.__name__.lower()}"
    return handler(name, start="oldest", concurrency=256, strict=strict)(judging)
