"""What actions answer, as far as it is publicly documented; an answer that does not fit is never an error.

The action has been carried out by then: what cannot be read is None, and unknown members are in `model_extra`.

Source: responses at v3.96.4 (names and types: confirmed); any action may answer with an empty body all the same.
"""

from typing import Any, ClassVar, Self

from pydantic import Field, ValidationError

from ampeco.models.fields import OptionalId, Time
from ampeco.models.payload import VendorObject


class Answer(VendorObject):
    """The answer of an action; every field is None after an empty answer.

    Attributes:
        enveloped: the members are inside `data`, when there is one.
    """

    enveloped: ClassVar[bool] = True

    @classmethod
    def read(cls, document: Any) -> Self:
        """Read an answer of any shape."""
        if cls.enveloped and isinstance(document, dict) and isinstance(document.get("data"), dict):
            document = document["data"]
        given = document if isinstance(document, dict) else {}
        while True:
            try:
                return cls.model_validate(given)
            except ValidationError as error:
                odd = {problem["loc"][0] for problem in error.errors(include_input=False, include_url=False)}
            # Without the one spelling of a field, the other one is read: it may be odd as well.
            given = {name: value for name, value in given.items() if name not in odd}


class Done(Answer):
    """Whether the action worked; False raises `ampeco.errors.ActionRefused` instead."""

    success: bool | None = None


class DiagnosticsRequested(Answer):
    """Where the diagnostics will be found."""

    success: bool | None = None
    request_id: OptionalId = None
    file_name: str | None = None


class SecurityLogRequested(Answer):
    """The request for a security log."""

    id: OptionalId = None
    charge_point_id: OptionalId = None
    status: str | None = None
    log_type: str | None = None
    file_name: str | None = None


class Reserved(Answer):
    """The new reservation."""

    success: bool | None = None
    reservation_id: OptionalId = None


class DataTransferred(Answer):
    """The charge point's answer to a data transfer.

    Attributes:
        status: `Accepted`, `Rejected`, `UnknownMessageId`, `UnknownVendorId`, or a newer one.
    """

    enveloped: ClassVar[bool] = False  # `data` is the charge point's own text here

    status: str | None = None
    data: str | None = None


class ChargingProfileSet(Answer):
    """The new charging profile."""

    id: OptionalId = None


class SessionStarted(Answer):
    """A session that was requested.

    Attributes:
        session_id: None when it was started without an EVSE; then `authorization_id` leads to the session.
    """

    success: bool | None = None
    session_id: OptionalId = None
    authorization_id: OptionalId = None
    message: str | None = None
    error_code: str | None = None


class SyncRequested(Answer):
    """The request for a configuration, which arrives as a notification."""

    success: bool | None = None
    request_id: OptionalId = None


class FlexibilityStatus(Answer):
    """Status of a flexibility asset."""

    status: str | None = None
    ends_at: Time = None


class ActivationPeriod(VendorObject):
    """Part of an activation request."""

    start_time: Time = None
    end_time: Time = None
    energy: float | None = None
    max_power: float | None = None


class ActivationRequested(Answer):
    """The new activation request."""

    id: OptionalId = None
    asset_id: OptionalId = None
    timestamp: Time = None
    periods: tuple[ActivationPeriod, ...] | None = None


class Slot(VendorObject):
    """A time in which an EVSE can be booked."""

    start_at: Time = None
    end_at: Time = None


class EvseSlots(VendorObject):
    """When one EVSE can be booked."""

    evse_id: OptionalId = None
    available_slots: tuple[Slot, ...] | None = None


class BookingAvailability(Answer):
    """When the EVSEs of a location can be booked."""

    enveloped: ClassVar[bool] = False  # `data` is a list here

    data: tuple[EvseSlots, ...] | None = None


class PrivateDataExport(Answer):
    """Where the data can be downloaded; the address alone grants access, so no `repr` shows it."""

    download_url: str | None = Field(default=None, repr=False)
