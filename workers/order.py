"""Which events a handler's order ties together, and which of two is the newer. Pure."""

from __future__ import annotations

from ampeco.entity_keys import occurred_at
from ampeco.errors import PayloadError
from ampeco.notifications import read
from handlers.contract import Order
from workers.eventlog.record import StoredEvent


def tie_of(order: Order, event: StoredEvent) -> str | None:
    """Events with the same tie run one at a time; None for one that is tied to nothing.

    `entity` ties all events of an entity, `latest` those of one type of an entity.
    """
    if order == "none" or event.key is None:
        return None
    return event.key if order == "entity" else f"{event.type} {event.key}"


def age_of(event: StoredEvent) -> tuple[int, tuple[int, int]]:
    """Compares greater for the newer event: by the payload's own time, else by arrival, then by place in the log."""
    try:
        at = occurred_at(event.type, read(event.body), event.received_at)
    except PayloadError:
        at = None
    ms = event.received_at_ms if at is None else round(at.timestamp() * 1000)
    return ms, event.order
