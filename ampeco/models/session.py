"""Sessions as their notifications carry them.

Source: REST resource sessions v1.0 at v3.96.4 (names and types). That it sits under `session` is confirmed by
one consumer for at least one session type; that it has all the REST fields is inferred.
"""

from typing import ClassVar

from ampeco.models.objects.session import Session
from ampeco.models.payload import LoosePayload, Payload


class SessionStartStop(LoosePayload):
    """A session started or stopped; tell which by `session.status`, no other field says so.

    How the two type strings relate is not publicly documented; the same shape is accepted for both, while the
    shape of `session.start.stop.notification` is a guess.
    """

    notification_types: ClassVar[tuple[str, ...]] = (
        "SessionStartStopNotification",
        "session.start.stop.notification",
    )
    noun: ClassVar[str] = "session"

    session: Session


class SessionUpdate(Payload):
    """A running session changed."""

    notification_types: ClassVar[tuple[str, ...]] = ("SessionUpdateNotification",)

    session: Session
