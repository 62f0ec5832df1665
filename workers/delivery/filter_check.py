"""Tries the filter of a handler (`where=`) on the samples of its types, as `handlers check` does."""

from __future__ import annotations

from ampeco.contract.samples import sampled, samples
from ampeco.entity_keys import DEFAULT_RULES
from ampeco.errors import FieldMisfit
from ampeco.notifications import read
from eventlog.record import StoredEvent
from handlers.declaration import EVERYTHING, Handler
from workers.delivery.attempt import Attempt
from workers.delivery.outcomes import PayloadMismatch
from workers.delivery.raised import name_of, where
from workers.delivery.typed_event import typed_event

_RECEIVED_AT_MS = 1_800_000_000_000


def filter_fault(handler: Handler) -> str | None:
    """Return what is wrong with the filter in one line, or None: it raises, or returns no bool."""
    if handler.where is None:
        return None
    for name in sampled() if EVERYTHING in handler.models else handler.types:
        for sample in samples(name):
            if (fault := _fault(handler, name, sample.raw)) is not None:
                return f"where= {fault} for a sample of {name}"
    return None


def _fault(handler: Handler, name: str, raw: bytes) -> str | None:
    model = handler.model_of(name)
    assert handler.where is not None and model is not None  # noqa: S101, PT018 - it is asked for its own types
    stored = StoredEvent(0, "1-0", name, DEFAULT_RULES.key(name, read(raw)), raw, _RECEIVED_AT_MS)
    try:
        answer: object = handler.where(typed_event(_attempt(stored), model, strict=False))
    except (FieldMisfit, PayloadMismatch):
        return None
    except Exception as error:  # noqa: BLE001 - the author's code
        _, _here, *lines = where(error).splitlines()
        return f"raises {name_of(type(error))} ({lines[0] if lines else 'in its call'})"
    if type(answer) is bool:
        return None
    return f"must return True or False; it returned something of the type {name_of(type(answer))}"


def _attempt(event: StoredEvent) -> Attempt:
    def never() -> None: ...

    return Attempt(event, 1, 0.0, allowed=lambda: True, overdue=never, steps=never)  # type: ignore[arg-type]
