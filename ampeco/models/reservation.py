"""Reservations of an EVSE.

Source: the enum of Subscribe at v3.96.4 (type strings: confirmed). The payloads are not publicly documented:
what they carry is a guess by the matching REST resource.
"""

from collections.abc import Mapping
from typing import ClassVar

from ampeco.models.fields import OptionalId
from ampeco.models.objects.reservation import Reservation
from ampeco.models.payload import LoosePayload, Nested


class ReservationChanged(LoosePayload):
    """A reservation was made, used, cancelled or ran out; tell which by its status."""

    notification_types: ClassVar[tuple[str, ...]] = ("reservation.changed",)
    noun: ClassVar[str] = "reservation"
    found_at: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "reservationId": ("reservation.id",),
        "evseId": ("reservation.evseId", "evse.id", "evse"),
    }

    reservation: Nested[Reservation] = None
    reservation_id: OptionalId = None
    evse_id: OptionalId = None


class LegacyReservationChanged(ReservationChanged):
    """The same under its older string."""

    notification_types: ClassVar[tuple[str, ...]] = ("ReservationChangedNotification",)
