"""A charge point has started.

Source: index of the specification v3.251.8 (the snake_case names: confirmed; that this component belongs to
this notification: inferred). The key they sit under, and the ids beside them, are not publicly documented.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import model_validator

from ampeco.models.fields import OptionalId
from ampeco.models.payload import LoosePayload


class Boot(LoosePayload):
    """What a charge point says of itself when it starts; it may sit at the top or one object further down."""

    notification_types: ClassVar[tuple[str, ...]] = ("BootNotification",)
    found_at: ClassVar[Mapping[str, tuple[str, ...]]] = {"chargePointId": ("chargePoint.id", "chargePoint")}

    charge_point_id: OptionalId = None
    vendor: str | None = None
    model: str | None = None
    firmware_version: str | None = None
    charge_point_serial_number: str | None = None
    charge_box_serial_number: str | None = None
    meter_type: str | None = None
    meter_serial_number: str | None = None
    iccid: str | None = None
    imsi: str | None = None
    reason: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _lift_nested(cls, data: Any) -> Any:
        """Bring the boot fields to the top when they lie in the one nested object that has any."""
        if not isinstance(data, dict) or _BOOT_FIELDS & data.keys():
            return data
        nested = [value for value in data.values() if isinstance(value, dict) and _BOOT_FIELDS & value.keys()]
        if len(nested) != 1:
            return data
        return {**{name: nested[0][name] for name in _BOOT_FIELDS & nested[0].keys()}, **data}


_BOOT_FIELDS = frozenset(
    spelling
    for name, field in Boot.model_fields.items()
    if name not in ("notification", "charge_point_id")
    for spelling in (name, field.alias or name)
)
