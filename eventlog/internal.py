"""Internal events: what this service announces about itself, in lanes like the notifications of AMPECO.

They lie in the lane of their key, such as `receiver:door` or `handler:acme.mail`. A handler gets them only by name:
`*` does not stand for them. `append_internal` in `scripts/lib.lua` appends each in the script of the change that it
announces, and bounds how many there are. Their payloads are in `handlers/internal.py`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from eventlog.text import bounded

if TYPE_CHECKING:
    from eventlog.log import EventLog

INTERNAL: Final = "receiver."
"""What their types begin with. No sender can make one: the endpoint puts such a body into the quarantine."""

STARTED: Final = "receiver.started"
GAP_OPENED: Final = "receiver.gap.opened"
GAP_CLOSED: Final = "receiver.gap.closed"
REGISTRATION_CHANGED: Final = "receiver.registration.changed"
REGISTRATION_FAILED: Final = "receiver.registration.failed"
HANDLER_PAUSED: Final = "receiver.handler.paused"
HANDLER_BEHIND: Final = "receiver.handler.behind"
HANDLER_FAULTY: Final = "receiver.handler.faulty"
DELIVERY_DEAD: Final = "receiver.delivery.dead"
QUARANTINE_ADDED: Final = "receiver.quarantine.added"
LOG_FULL: Final = "receiver.log.full"
SHAPE_DRIFTED: Final = "receiver.shape.drifted"

DOOR: Final = "receiver:door"  # keys: gaps and starts, which must stay in order
REGISTRATION: Final = "receiver:registration"
QUARANTINE: Final = "receiver:quarantine"
LOG: Final = "receiver:log"

_ITEMS = 500  # of a list in a payload
_KEY_BYTES = 190  # of a name in a key


class InternalEvent(NamedTuple):
    """An internal event to append. Make it with `internal_event`."""

    type: str
    key: str
    body: str

    def arguments(self, log: EventLog) -> tuple[Any, ...]:
        """Return the four values that `append_internal` takes."""
        return log.lane_of(self.key, b""), *self


def internal_event(type: str, key: str, fields: Mapping[str, Any]) -> InternalEvent:
    """Make an internal event. Its texts and lists are cut to bounded lengths.

    Args:
        key: what it is about; events of one key stay in order, and are held back together.
        fields: of the payload, by wire name. No personal data and no secrets.
    """
    body = {"notification": type, **{name: _bounded(value) for name, value in fields.items()}}
    return InternalEvent(type, key, json.dumps(body, separators=(",", ":")))


def key_of_handler(name: str) -> str:
    """Return the key of events about one handler."""
    return f"handler:{name}"


def key_of_shape(type: str) -> str:
    """Return the key of events about the structure of one notification type."""
    name = type.encode()
    return f"shape:{type if len(name) <= _KEY_BYTES else hashlib.sha256(name).hexdigest()[:32]}"


async def announce(log: EventLog, event: InternalEvent) -> list[str]:
    """Append an internal event that goes with no other change; return the queues to wake."""
    wake = await log.scripts.announce(args=[log.prefix, *event.arguments(log)])
    return [queue.decode() for queue in wake or ()]


def is_internal(type: str) -> bool:
    """Return whether a type is one of our own."""
    return type.startswith(INTERNAL)


def is_wanted(types: Collection[str], type: str) -> bool:
    """Return whether a handler of these types gets an event of this type; `*` stands for all but internal ones."""
    return type in types or ("*" in types and not is_internal(type))


def _bounded(value: Any) -> Any:
    if isinstance(value, str):
        return bounded(value)
    if isinstance(value, list | tuple):
        return [_bounded(item) for item in value[:_ITEMS]]
    return value
