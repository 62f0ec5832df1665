"""Meter values of a running session: the notification that arrives most often.

Source: index of the specification v3.251.8 and one consumer (names: confirmed). Types of the values are not
publicly documented; the names match OCPP's SampledValue, whose value is text.
"""

from typing import Annotated, ClassVar

from pydantic import BeforeValidator, Field

from ampeco.models.fields import Id, OptionalId, Time
from ampeco.models.payload import Payload, VendorObject


def _empty_for_null(value: object) -> object:
    return [] if value is None else value


class MeterValue(VendorObject):
    """One reading.

    Attributes:
        value: a number whenever it can be read as one, else the text (OCPP knows signed readings).
        measurand: what was measured; OCPP's names are likely, e.g. `Energy.Active.Import.Register`.
    """

    timestamp: Time = None
    measurand: str | None = None
    value: Annotated[float | str | None, Field(union_mode="left_to_right")] = None
    unit: str | None = None
    location: str | None = None


class SessionMeterValues(Payload):
    """Readings of one session."""

    notification_types: ClassVar[tuple[str, ...]] = ("SessionMeterValuesNotification",)

    session_id: Id
    external_session_id: OptionalId = None
    charge_point_id: OptionalId = None
    evse_id: OptionalId = None
    meter_values: Annotated[list[MeterValue], BeforeValidator(_empty_for_null)] = Field(default_factory=list)
