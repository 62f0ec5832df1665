"""Status notifications of the hardware, of its connection, and of what it was told to do.

Source: one consumer (the three names of hardware status: confirmed), enums of the REST resources at v3.96.4,
index of the specification v3.251.8 (firmware status: names confirmed, type string not). Of the network and
the diagnostics status only the type string is known; their fields here are guesses by the matching resource
and action.
"""

from collections.abc import Mapping
from typing import ClassVar

from ampeco.models.fields import OptionalId, Time
from ampeco.models.payload import LoosePayload

_CHARGE_POINT_ID = ("chargePoint.id", "chargePoint")


class HardwareStatus(LoosePayload):
    """A charge point or one of its EVSEs reports another hardware status. It carries no time of its own.

    Attributes:
        charge_point_id: sent in all that was seen, yet not promised anywhere.
        evse_id: None, presumably, when the charge point as a whole is meant.
        hardware_status: open set; known for an EVSE are available, preparing, charging, suspendedEV,
            suspendedEVSE, finishing, reserved, unavailable, faulted, occupied; for a charge point available,
            unavailable, faulted.
    """

    notification_types: ClassVar[tuple[str, ...]] = ("HardwareStatusNotification",)
    found_at: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "chargePointId": _CHARGE_POINT_ID,
        "evseId": ("evse.id", "evse"),
    }

    charge_point_id: OptionalId = None
    evse_id: OptionalId = None
    hardware_status: str | None = None


class NetworkStatus(LoosePayload):
    """A charge point went online or offline.

    Attributes:
        network_status: open set; expect available, never_connected, temporarily_unavailable,
            long-term_unavailable, and the same words with spaces (both spellings exist at AMPECO).
    """

    notification_types: ClassVar[tuple[str, ...]] = ("NetworkStatusNotification",)
    found_at: ClassVar[Mapping[str, tuple[str, ...]]] = {"chargePointId": _CHARGE_POINT_ID}

    charge_point_id: OptionalId = None
    network_status: str | None = None


class DiagnosticsStatus(LoosePayload):
    """A charge point tells how far its diagnostics are.

    Attributes:
        request_id: that of the action that asked for them, if AMPECO sends it back.
        status: a guess; OCPP's words are likely.
    """

    notification_types: ClassVar[tuple[str, ...]] = ("DiagnosticsStatusNotification",)
    found_at: ClassVar[Mapping[str, tuple[str, ...]]] = {"chargePointId": _CHARGE_POINT_ID}

    charge_point_id: OptionalId = None
    request_id: OptionalId = None
    status: str | None = None
    file_name: str | None = None


class FirmwareStatus(LoosePayload):
    """A charge point tells how far its firmware update is. The type string is a likely one, not a known one.

    Attributes:
        protocol: the OCPP version whose words `firmware_status` uses, presumably.
    """

    notification_types: ClassVar[tuple[str, ...]] = ("FirmwareStatusNotification",)
    found_at: ClassVar[Mapping[str, tuple[str, ...]]] = {"chargePointId": _CHARGE_POINT_ID}

    charge_point_id: OptionalId = None
    protocol: str | None = None
    firmware_status: str | None = None
    last_updated_at: Time = None
    external_id: OptionalId = None
    firmware_update_execution_id: OptionalId = None
