"""Makes the event that a handler gets: its payload as the type that the handler declares."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import structlog
from pydantic import ValidationError

from ampeco.entity_keys import occurred_at
from ampeco.errors import PayloadError
from ampeco.models.reading import lacks_id, read_payload
from ampeco.notifications import Payload, read
from eventlog.record import RECONSTRUCTED, StoredEvent
from handlers.event import Echo, Event, Raw
from workers.delivery.echoes import echo_of
from workers.delivery.outcomes import PayloadMismatch
from workers.delivery.shared_event import SharedEvent

_NAMED_FIELDS = 5

_log = structlog.get_logger()


class Reading(Protocol):
    """The source of an event, such as an attempt, and what reading it finds.

    Attributes:
        misfits: filled with the fields of the payload that do not fit.
    """

    @property
    def event(self) -> StoredEvent: ...
    @property
    def replayed(self) -> bool: ...
    @property
    def echo_of(self) -> Echo | None: ...

    misfits: tuple[str, ...]


def typed_event(attempt: Reading, model: type[Payload] | type[Raw], *, strict: bool) -> Event[Any]:
    """Return the event as its handler sees it, and note the fields that do not fit.

    Raises:
        PayloadMismatch: the body is not a notification, its identity does not fit, or another field does not and
            the handler is strict.
    """
    stored = attempt.event
    if type(stored) is not SharedEvent or attempt.replayed:
        return _made(attempt, model, strict=strict)
    event = stored.made.get(model)
    if event is None:
        event = _made(attempt, model, strict=strict)
        if issubclass(model, Raw) or model.model_config.get("frozen"):  # an author's own model may not be
            stored.made[model] = event
    if event.misfits:
        attempt.misfits = event.misfits
        if strict:
            raise _mismatch(type(event.payload), event.misfits)
    return event


def _made(attempt: Reading, model: type[Payload] | type[Raw], *, strict: bool) -> Event[Any]:
    """Read the payload of an event; raises as `typed_event` does."""
    stored = attempt.event
    encoding = stored.encoding
    misfits: tuple[str, ...] = ()
    try:
        data = read(stored.body, encoding)
    except PayloadError as error:
        raise PayloadMismatch(error.reason) from None
    payload: Payload | Raw
    if issubclass(model, Raw):
        payload = model(data)
    else:
        try:
            # What model_validate does, without its checks of arguments: a microsecond for every event.
            payload = model.__pydantic_validator__.validate_python(data)
        except ValidationError:
            payload, misfits = _read_in_part(stored, model, data)
            attempt.misfits = misfits
            if strict or (stored.key is None and lacks_id(payload)):
                raise _mismatch(model, misfits) from None
    received_at = stored.received_at
    # Older code stored no time. Remove this search when no log holds its records any more.
    searched = stored.occurred_at_us is None
    return Event(
        received_at=received_at,
        occurred_at=occurred_at(stored.type, data, received_at) if searched else stored.occurred_at,
        id=stored.event_id,
        type=stored.type,
        key=stored.key,
        payload=payload,
        raw=stored.body,
        maybe_repeat="maybe_repeat" in stored.marks,
        replayed=attempt.replayed,
        reconstructed=RECONSTRUCTED in stored.marks,
        misfits=misfits,
        echo_of=attempt.echo_of or (echo_of(stored, data) if stored.recent_calls else None),
        encoding=encoding,
    )


def _read_in_part(
    stored: StoredEvent, model: type[Payload], data: dict[str, Any]
) -> tuple[Payload, tuple[str, ...]]:
    """Return a payload of which some fields do not fit, and the names of these."""
    try:
        payload, misfits = read_payload(model, data)
    except ValidationError as error:  # no field alone is at fault
        places = {".".join(map(str, fault["loc"])) for fault in error.errors(include_input=False)}
        raise _mismatch(model, sorted(places)) from None
    _log.debug(
        "payload.misfit",
        event_id=stored.event_id,
        notification=stored.type,
        key=stored.key,
        fields=misfits[:_NAMED_FIELDS],
        count=len(misfits),
    )
    return payload, misfits


def _mismatch(model: type[Payload | Raw], fields: Sequence[str]) -> PayloadMismatch:
    more = len(fields) - _NAMED_FIELDS
    named = ", ".join(fields[:_NAMED_FIELDS]) + (f" and {more} more" if more > 0 else "")
    return PayloadMismatch(f"does not fit {model.__name__}: {named}")
