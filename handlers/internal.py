"""Payloads of internal events: what this service announces about itself. A handler gets them only by name.

Their types start with `receiver.`. They never reach AMPECO, and no sender can make one. Where a type is announced
often for one subject, events are held back for a while, and the next one says how many (`held`).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import ClassVar

from pydantic import Field

from ampeco.nearest import did_you_mean
from ampeco.notifications import Payload
from handlers.event import INTERNAL, TIMER


class InternalPayload(Payload):
    """The fields that all internal events have.

    Attributes:
        held: how many events of this type and key were held back since the one before.
    """

    held: int = 0


class Started(InternalPayload):
    """A receiver has started, and accepts notifications.

    Attributes:
        replica: name of the process: host, process id and a random part.
    """

    notification_types: ClassVar[tuple[str, ...]] = ("receiver.started",)

    replica: str


class GapOpened(InternalPayload):
    """Notifications may be missed from now on.

    Attributes:
        from_at: since when (UTC).
        reason: why, as a slug, e.g. `no-receiver` or `not-subscribed`.
        types: notification types that may be missed.
    """

    notification_types: ClassVar[tuple[str, ...]] = ("receiver.gap.opened",)

    from_at: datetime = Field(alias="from")
    reason: str = ""
    types: tuple[str, ...] = ()


class GapClosed(InternalPayload):
    """A time has ended whose events may be missing, such as an outage of the receiver.

    Attributes:
        reason: why: `no-receiver` (AMPECO could not deliver), `not-subscribed` (nothing was subscribed),
            `redis-rolled-back` (Redis lost what was accepted). Events of older receivers have none, and mean
            `no-receiver`.
        from_at: last moment before it, such as the last at which the endpoint was known to be open (UTC).
        to_at: first moment after it (UTC).
        types: notification types that were subscribed.
        callback_url: where AMPECO delivers to, which identifies our notification subscription; None when the
            service does not register itself.
    """

    notification_types: ClassVar[tuple[str, ...]] = ("receiver.gap.closed",)

    from_at: datetime = Field(alias="from")
    to_at: datetime = Field(alias="to")
    types: tuple[str, ...] = ()
    callback_url: str | None = None
    reason: str = "no-receiver"


class RegistrationChanged(InternalPayload):
    """Our notification subscription at AMPECO was created, updated, restored or removed.

    Attributes:
        action: what was done, as a slug, e.g. `create` or `update`.
        subscription_id: id of the subscription at AMPECO; None where it was removed.
        types: notification types that it delivers now.
        reason: why, in words.
    """

    notification_types: ClassVar[tuple[str, ...]] = ("receiver.registration.changed",)

    action: str
    subscription_id: str | None = None
    types: tuple[str, ...] = ()
    reason: str = ""


class RegistrationFailed(InternalPayload):
    """Our notification subscription could not be checked or changed.

    Attributes:
        reason: why, as a slug.
        status: status of AMPECO's answer; None without one.
        detail: the same in words.
    """

    notification_types: ClassVar[tuple[str, ...]] = ("receiver.registration.failed",)

    reason: str
    status: int | None = None
    detail: str = ""


class HandlerPaused(InternalPayload):
    """An operator has paused a handler.

    Attributes:
        handler: its name.
        reason: the reason that the operator gave.
    """

    notification_types: ClassVar[tuple[str, ...]] = ("receiver.handler.paused",)

    handler: str
    reason: str = ""


class HandlerBehind(InternalPayload):
    """Events have waited for a handler for long, although it is not paused.

    Attributes:
        handler: its name.
        waiting: how many events wait for it, about.
        oldest_age_s: how long the oldest of them has waited, in seconds, about.
    """

    notification_types: ClassVar[tuple[str, ...]] = ("receiver.handler.behind",)

    handler: str
    waiting: int
    oldest_age_s: float


class HandlerFaulty(InternalPayload):
    """A plugin cannot be loaded or set up, so its handlers do not run in a worker.

    Attributes:
        source: the entry point, module, file or handler.
        error: what is wrong with it, in one line.
    """

    notification_types: ClassVar[tuple[str, ...]] = ("receiver.handler.faulty",)

    source: str
    error: str = ""


class DeliveryDead(InternalPayload):
    """A handler gave up an event of AMPECO's or a timer, which waits for an operator now.

    Attributes:
        handler: its name.
        event_id: id of the event.
        event_type: its notification type.
        entity: its entity key; None for an event without one.
        reason: why it was given up, as in `dead list`.
    """

    notification_types: ClassVar[tuple[str, ...]] = ("receiver.delivery.dead",)

    handler: str
    event_id: str
    event_type: str
    entity: str | None = None
    reason: str = ""


class QuarantineAdded(InternalPayload):
    """A signed body that cannot be read was put into the quarantine.

    Attributes:
        quarantine_id: its id there.
        reason: why it cannot be read, as a slug.
    """

    notification_types: ClassVar[tuple[str, ...]] = ("receiver.quarantine.added",)

    quarantine_id: str
    reason: str = ""


class LogFull(InternalPayload):
    """The log is full: the receivers refuse notifications until there is room.

    Attributes:
        reason: why, in words.
        bytes_used: what the log takes.
        max_bytes: what it may take (`AWR_LOG_MAX_BYTES`).
    """

    notification_types: ClassVar[tuple[str, ...]] = ("receiver.log.full",)

    reason: str
    bytes_used: int
    max_bytes: int


class ShapeDrifted(InternalPayload):
    """Notifications of a type have another structure than before, or than AMPECO's contract says.

    Attributes:
        event_type: the notification type.
        paths: dotted names of the fields that differ.
    """

    notification_types: ClassVar[tuple[str, ...]] = ("receiver.shape.drifted",)

    event_type: str
    paths: tuple[str, ...] = ()


PAYLOADS: Mapping[str, type[InternalPayload]] = {
    name: payload for payload in InternalPayload.__subclasses__() for name in payload.notification_types
}
"""Every internal type and its payload."""


def unknown_internal(names: object) -> str | None:
    """Name the types among these that look like an internal event and are not one."""
    if not isinstance(names, list | tuple | set | frozenset):
        return None
    for name in names:
        if isinstance(name, str) and name.startswith(INTERNAL) and name not in {*PAYLOADS, TIMER}:
            known = sorted(PAYLOADS)
            return (
                f"on has {name!r}, which is not an internal event; there are: {', '.join(known)}"
                f"{did_you_mean(name, known)}"
            )
    return None
