"""Reads a stored event in every way that workers and commands do; knows which exceptions are documented."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Iterator
from typing import Any

from ampeco.errors import FieldMisfit
from ampeco.models.payload import Payload
from ampeco.notifications import MODELS
from commands.body_shape import shape
from commands.events import cells, row
from commands.explain import document
from commands.explain_text import lines
from eventlog.clock import now_ms
from eventlog.inspection.explain import explain
from eventlog.log import EventLog
from eventlog.record import OpenRecord, StoredEvent, decode_open, encode_open
from handlers.event import Event, Raw
from workers.delivery.attempt import Attempt
from workers.delivery.outcomes import PayloadMismatch
from workers.delivery.typed_event import typed_event


def read_as_worker(stored: StoredEvent) -> Iterator[str]:
    """Make the events that handlers get, read every field, and yield the outcome for each model.

    Any exception that is not documented passes through.
    """
    for model in (MODELS.get(stored.type), Raw):
        if model is None:
            yield "no model"
            continue
        try:
            event = typed_event(_attempt(stored), model, strict=False)
        except PayloadMismatch:
            yield "payload mismatch"
            continue
        yield f"read as {'raw' if model is Raw else 'typed'}{', with misfits' if event.misfits else ''}"
        _use(event)
    record = OpenRecord(stored, "retry", due_ms=1, last_error="x")
    assert decode_open(stored.lane, stored.stream_id.encode(), encode_open(record)) == record


def _use(event: Event[Any]) -> None:
    """Use an event as a handler might."""
    repr(event)
    repr(event.payload).encode()
    assert pickle.loads(pickle.dumps(event)) == event  # noqa: S301 - isolated handlers get it so
    if isinstance(event.payload, Raw):
        json.dumps(event.payload.data, ensure_ascii=False).encode()
        return
    payload: Payload = event.payload
    for name, field in type(payload).model_fields.items():
        try:
            repr(getattr(payload, name)).encode()
        except FieldMisfit as misfit:
            assert misfit.field in event.misfits or field.is_required()  # noqa: PT017
    for name in sorted(type(payload).model_fields)[
        len(event.raw) % 7 :: 7
    ]:  # each of them reads the body again
        payload.raw_value(name)
        try:
            payload.exact(name)
        except FieldMisfit:
            pass
    json.dumps(payload.model_extra).encode()
    assert copy.deepcopy(payload) == payload
    payload.model_dump_json().encode()
    json.dumps(payload.model_dump(mode="json", by_alias=True)).encode()


def _attempt(stored: StoredEvent) -> Attempt:
    return Attempt(stored, 1, 0.0, lambda: True, lambda: None, lambda: NotImplemented)  # type: ignore[arg-type]


def show(stored: StoredEvent) -> None:
    """Render an event as `events list` and `events show` do."""
    json.dumps({**row(stored), "shape": shape(stored.body)}, ensure_ascii=False).encode()
    "".join(map(str, cells(stored))).encode()


async def explain_it(log: EventLog, asked: str, misfits: tuple[str, ...] = ()) -> None:
    """Explain an event, an entity or a quarantined body, as text and as JSON."""
    found = await explain(log, asked, handler=None, now_ms=now_ms())
    assert found.is_known, f"explain knows nothing of {asked}"
    json.dumps(document(found, misfits), ensure_ascii=False).encode()
    "\n".join(lines(found, misfits)).encode()
