"""Locations and the parking spaces there.

Source: the enum of Subscribe at v3.96.4 (type strings: confirmed), index of the specification v3.251.8 in its
order (v1.0 location: inferred). The keys these sit under, and the parking space, are guesses.
"""

from collections.abc import Mapping
from typing import ClassVar

from ampeco.models.fields import OptionalId
from ampeco.models.objects.location_v1 import LocationV1
from ampeco.models.objects.parking_space import ParkingSpace
from ampeco.models.payload import LoosePayload, Nested


class LocationChanged(LoosePayload):
    """A location changed, in the v1.0 shape (inferred)."""

    notification_types: ClassVar[tuple[str, ...]] = ("LocationChangedNotification",)
    noun: ClassVar[str] = "location"
    found_at: ClassVar[Mapping[str, tuple[str, ...]]] = {"locationId": ("location.id",)}

    location: Nested[LocationV1] = None
    location_id: OptionalId = None


class ParkingSpaceOccupancyStatusChanged(LoosePayload):
    """A parking space was taken or left, or somebody said so by an action."""

    notification_types: ClassVar[tuple[str, ...]] = ("parkingSpace.occupancyStatus.changed",)
    noun: ClassVar[str] = "parkingSpace"
    found_at: ClassVar[Mapping[str, tuple[str, ...]]] = {"parkingSpaceId": ("parkingSpace.id",)}

    parking_space: Nested[ParkingSpace] = None
    parking_space_id: OptionalId = None
