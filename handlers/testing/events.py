"""Events for tests: made from the samples and the variants of every notification type, which the wheel ships."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Literal, TypeVar, overload

from ampeco.contract.samples import sampled, samples
from ampeco.contract.variants import variants
from ampeco.entity_keys import DEFAULT_RULES, occurred_at
from ampeco.literals import NotificationName
from ampeco.models.reading import read_payload
from ampeco.nearest import did_you_mean
from ampeco.notifications import KNOWN_TYPES, MODELS, UNCONFIRMED_TYPES, Payload, read, spellings
from handlers.event import Event, Raw
from handlers.internal import PAYLOADS
from handlers.names import InternalName, Other
from handlers.testing.clock import Clock
from handlers.testing.fields import write

P = TypeVar("P", bound=Payload)
Sample = Literal["full", "minimal"]

_LANE = 0
_numbers = itertools.count(1)


@overload
def event_of(
    of: type[P],
    *,
    sample: Sample = ...,
    clock: Clock | None = ...,
    extra: Mapping[str, Any] | None = ...,
    **fields: Any,
) -> Event[P]: ...
@overload
def event_of(
    of: NotificationName | InternalName | Other,
    *,
    sample: Sample = ...,
    clock: Clock | None = ...,
    extra: Mapping[str, Any] | None = ...,
    **fields: Any,
) -> Event[Any]: ...
def event_of(
    of: Any,
    *,
    sample: Sample = "full",
    clock: Clock | None = None,
    extra: Mapping[str, Any] | None = None,
    **fields: Any,
) -> Event[Any]:
    """Make an event of a type, from its sample, with some fields changed.

    Args:
        of: a notification type, or the class of a payload; of a type without a sample, `other("vendor.type")`.
        sample: the one to begin with: with every documented field, or with the required ones alone.
        clock: says when it is received; now unless given.
        extra: fields of the body that the models do not know, written as they are.
        fields: by their names in Python or on the wire, as `hardware_status="faulted"`. An object is merged, as
            `session={"status": "finished"}`; `ABSENT` leaves a field out.

    Raises:
        LookupError: there is no such type.
        TypeError: the payload has no such field.
    """
    name, model = _type_of(of)
    body = _sample_body(name, sample)
    write(body, model, fields)
    body |= dict(extra or {})
    return event_from(json.dumps(body).encode(), type=name, model=model, clock=clock)


def samples_of(of: NotificationName | InternalName | Other | type[Payload]) -> list[Event[Any]]:
    """Make an event of each sample of a type, the fullest first."""
    name, model = _type_of(of)
    return [event_from(each.raw, type=name, model=model) for each in samples(name)]


def variants_of(
    of: NotificationName | InternalName | Other | type[Payload],
) -> Iterator[tuple[str, Event[Any]]]:
    """Make an event of each body that the contract allows for a type, and say what is special about it.

    In one of them each optional field is absent, in one each nullable field is null, and each known word of a state
    occurs.
    """
    name, model = _type_of(of)
    for each in variants(name):
        yield each.about, event_from(json.dumps(each.body).encode(), type=name, model=model)


def event_from(
    body: bytes,
    *,
    type: str | None = None,
    model: type[Payload] | None = None,
    clock: Clock | None = None,
) -> Event[Any]:
    """Make an event of a body as AMPECO sends it.

    Args:
        type: unless the body names it.
        model: of the payload; the known one of the type unless given.

    Raises:
        PayloadError: the body is not a JSON object.
        ValidationError: it is not a payload of the type at all.
    """
    data = read(body)
    name = str(data.get("notification", type or "untyped"))
    received_at: datetime = (clock or Clock()).now()
    payload: Payload | Raw = Raw(data)
    misfits: tuple[str, ...] = ()
    model = model or _model_of(name)
    if model is not None:
        payload, misfits = read_payload(model, data)
    return Event(
        id=f"{_LANE}-{round(received_at.timestamp() * 1000)}-{next(_numbers)}",
        type=name,
        key=DEFAULT_RULES.key(name, data),
        received_at=received_at,
        occurred_at=occurred_at(name, data, received_at),
        payload=payload,
        raw=body,
        misfits=misfits,
    )


def known_types() -> tuple[str, ...]:
    """Return the notification types with a sample."""
    return sampled()


def _type_of(of: Any) -> tuple[str, type[Payload] | None]:
    if isinstance(of, str):
        if (model := _model_of(of)) is not None or samples(of):
            return of, model
        if isinstance(of, Other):
            return str(of), None
        hint = did_you_mean(of, {**KNOWN_TYPES, **UNCONFIRMED_TYPES, **PAYLOADS})
        raise LookupError(f"there is no sample of {of!r}; a newer type is written as other({of!r}){hint}")
    names: tuple[str, ...] = of.notification_types
    if not names:
        raise LookupError(f"{of.__name__} names no notification types")
    preferred = spellings(names[0])[0]
    return (preferred if preferred in names else names[0]), of


def _model_of(name: str) -> type[Payload] | None:
    return MODELS.get(name) or PAYLOADS.get(name)


def _sample_body(name: str, sample: Sample) -> dict[str, Any]:
    found = samples(name)
    chosen = next((each for each in found if each.case == sample), found[0] if found else None)
    return chosen.body if chosen is not None else {"notification": name}
