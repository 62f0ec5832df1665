"""Status notifications of the hardware and of its connection.

Source: one consumer (the three names of hardware status: confirmed), enums of the REST resources at v3.96.4.
Of the network status only the type string is known; its fields here are a guess by the matching resource.
"""

from typing import ClassVar

from pydantic import AliasChoices, AliasPath, Field

from ampeco.models.fields import OptionalId
from ampeco.models.payload import Payload

CHARGE_POINT_ID = AliasChoices("chargePointId", AliasPath("chargePoint", "id"))
EVSE_ID = AliasChoices("evseId", AliasPath("evse", "id"))


class HardwareStatus(Payload):
    """A charge point or one of its EVSEs reports another hardware status. It carries no time of its own.

    Attributes:
        charge_point_id: sent in all that was seen, yet not promised anywhere.
        evse_id: None, presumably, when the charge point as a whole is meant.
        hardware_status: open set; known for an EVSE are available, preparing, charging, suspendedEV,
            suspendedEVSE, finishing, reserved, unavailable, faulted, occupied; for a charge point available,
            unavailable, faulted.
    """

    notification_types: ClassVar[tuple[str, ...]] = ("HardwareStatusNotification",)

    charge_point_id: OptionalId = Field(default=None, validation_alias=CHARGE_POINT_ID)
    evse_id: OptionalId = Field(default=None, validation_alias=EVSE_ID)
    hardware_status: str | None = None


class NetworkStatus(Payload):
    """A charge point went online or offline.

    Attributes:
        network_status: open set; expect available, never_connected, temporarily_unavailable,
            long-term_unavailable, and the same words with spaces (both spellings exist at AMPECO).
    """

    notification_types: ClassVar[tuple[str, ...]] = ("NetworkStatusNotification",)

    charge_point_id: OptionalId = Field(default=None, validation_alias=CHARGE_POINT_ID)
    network_status: str | None = None
