"""Meter values of a running session: the notification that arrives most often.

Source: index of the specification v3.251.8 and one consumer (names: confirmed). Types of the values are not
publicly documented; the names match OCPP's SampledValue, whose value is text.
"""

from typing import Annotated, ClassVar

from pydantic import BeforeValidator, Field

from ampeco.models.fields import Id, OptionalId
from ampeco.models.objects.meter_value import MeterValue
from ampeco.models.payload import Payload


def _empty_for_null(value: object) -> object:
    return [] if value is None else value


class SessionMeterValues(Payload):
    """Readings of one session."""

    notification_types: ClassVar[tuple[str, ...]] = ("SessionMeterValuesNotification",)

    session_id: Id
    external_session_id: OptionalId = None
    charge_point_id: OptionalId = None
    evse_id: OptionalId = None
    meter_values: Annotated[list[MeterValue], BeforeValidator(_empty_for_null)] = Field(default_factory=list)
