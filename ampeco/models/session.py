"""A charging session as AMPECO embeds it in its session notifications.

Source: REST resource sessions v1.0 at v3.96.4 (names and types). That it sits under `session` is confirmed by
one consumer for at least one session type; that it has all the REST fields is inferred.
"""

from typing import ClassVar

from ampeco.models.fields import Id, OptionalId, Time
from ampeco.models.payload import Payload, VendorObject


class Session(VendorObject):
    """A snapshot of a charging session; it may already be stale when it arrives.

    Everything but `id` may be missing or null. A time that cannot be read counts as missing.

    Attributes:
        status: open set; known are unknown, pending, active, finished, failed, expired.
        reason: why it ended, open set of about 50 words.
        energy: charged energy. AMPECO does not publish its unit, and users of the API contradict each other
            (Wh and kWh): compare with a known session of your tenant before billing by it.
        payment_status: open set; known are pending, paid, partially, failed.
        billing_status: open set; known are pending, suspended, completed.
    """

    id: Id
    charge_point_id: OptionalId = None
    evse_id: OptionalId = None
    connector_id: OptionalId = None
    user_id: OptionalId = None
    authorization_id: OptionalId = None
    payment_method_id: OptionalId = None
    external_session_id: OptionalId = None
    status: str | None = None
    reason: str | None = None
    started_at: Time = None
    stopped_at: Time = None
    last_updated_at: Time = None
    energy: float | None = None
    power_kw: float | None = None
    soc_percent: float | None = None
    amount: float | None = None
    currency: str | None = None
    payment_type: str | None = None
    payment_status: str | None = None
    billing_status: str | None = None


class SessionStartStop(Payload):
    """A session started or stopped; tell which by `session.status`, no other field says so.

    How the two type strings relate is not publicly documented; the same shape is accepted for both, while the
    shape of `session.start.stop.notification` is a guess.
    """

    notification_types: ClassVar[tuple[str, ...]] = (
        "SessionStartStopNotification",
        "session.start.stop.notification",
    )

    session: Session


class SessionUpdate(Payload):
    """A running session changed."""

    notification_types: ClassVar[tuple[str, ...]] = ("SessionUpdateNotification",)

    session: Session
