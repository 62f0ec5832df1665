"""One line of text for each internal event, from a template with the fields of its payload in braces."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from handlers.event import Event, Raw
from handlers.internal import PAYLOADS

DEFAULT_TEMPLATES: Mapping[str, str] = {
    "receiver.started": "A receiver has started: {replica}",
    "receiver.gap.opened": "Notifications may be missed since {from_at}: {reason}",
    "receiver.gap.closed": "The gap from {from_at} to {to_at} has ended",
    "receiver.registration.changed": "The notification subscription has changed: {action} {reason}",
    "receiver.registration.failed": "The notification subscription has failed: {reason} {status} {detail}",
    "receiver.handler.paused": "{handler} was paused: {reason}",
    "receiver.handler.behind": "{handler} is behind: {waiting} events wait, the oldest for {oldest_age_s} s",
    "receiver.handler.faulty": "A plugin is faulty: {source}: {error}",
    "receiver.delivery.dead": "{handler} gave up {event_type} of {entity} (event {event_id}): {reason}",
    "receiver.quarantine.added": "A signed body cannot be read ({reason}) and is in quarantine: {quarantine_id}",
    "receiver.log.full": "The log is full, notifications are refused: {reason}",
    "receiver.shape.drifted": "{event_type} has another structure: {paths}",
}
ALWAYS = frozenset({"type", "key", "at", "held"})

_PLACE = re.compile(r"\{([^{}]*)\}")
_VALUE_CHARS = 300
_LINE_CHARS = 1_000
_ITEMS = 5


def fault_of(type: str, template: str) -> str | None:
    """Return what is wrong with an operator's template; None if nothing is."""
    if type not in PAYLOADS:
        return f"{type!r} is not an internal event"
    known = ALWAYS | PAYLOADS[type].model_fields.keys() - {"notification"}
    unknown = sorted(set(_PLACE.findall(template)) - known)
    if unknown:
        return f"the template of {type} has {{{unknown[0]}}}; there are: {', '.join(sorted(known))}"
    return None


def line_of(event: Event[Raw], templates: Mapping[str, str]) -> str:
    """Return the line for an event, without control characters. It also says how many events were held back."""
    values: dict[str, Any] = {"type": event.type, "key": event.key, "at": event.received_at}
    template = templates.get(event.type, "{type} {key}")
    try:
        values |= dict(PAYLOADS[event.type].model_validate_json(event.raw))
    except (KeyError, ValidationError):  # of another version
        template = "{type} {key}"
    line = _PLACE.sub(lambda place: _text(values.get(place[1])), template)
    if values.get("held"):
        line += f" (and {values['held']} more since the one before)"
    line = f"{_text(event.received_at)} {line}"
    return "".join(char if char.isprintable() else " " for char in line)[:_LINE_CHARS].rstrip()


def _text(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    if isinstance(value, tuple | list):
        more = f" and {len(value) - _ITEMS} more" if len(value) > _ITEMS else ""
        return ", ".join(map(str, value[:_ITEMS]))[:_VALUE_CHARS] + more
    return str(value)[:_VALUE_CHARS]
