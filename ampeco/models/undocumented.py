"""Payloads that the contract does not describe, so nothing about them is promised.

Subscribe takes the first four types, and only their strings are certain. Their fields are guesses from the matching
REST resource. Of issues and firmware a later index has the names of the fields, and their type strings are guesses.

Source: published contract v3.110.0 (enum of Subscribe); index of the specification v3.251.8 (issue, firmware status).
"""

from typing import ClassVar

from ampeco.models.fields import OptionalId, Text, Time
from ampeco.models.liberal import LiberalPayload
from ampeco.models.objects.issue import Issue
from ampeco.models.objects.partner_invite import PartnerInvite
from ampeco.models.objects.payment_method import PaymentMethod
from ampeco.models.objects.reservation import Reservation
from ampeco.models.objects.subscription_plan import SubscriptionPlan
from ampeco.models.payload import Nested


class LegacyReservationChanged(LiberalPayload):
    """`ReservationChanged` reads these bodies as well and is subscribed to by its newer type."""

    notification_types: ClassVar[tuple[str, ...]] = ("ReservationChangedNotification",)
    carries: ClassVar[str] = "reservation"
    nouns: ClassVar[tuple[str, ...]] = ("reservation",)

    reservation: Nested[Reservation] = None
    reservation_id: OptionalId = None
    evse_id: OptionalId = None
    status: Text | None = None
    last_updated_at: Time = None


class LegacyPaymentMethodChanged(LiberalPayload):
    """`UserPaymentMethodChanged` reads these bodies as well and is subscribed to by its newer type."""

    notification_types: ClassVar[tuple[str, ...]] = ("PaymentMethodChangedNotification",)
    carries: ClassVar[str] = "paymentMethod"

    payment_method: Nested[PaymentMethod] = None
    payment_method_id: OptionalId = None
    user_id: OptionalId = None
    action: Text | None = None
    last_updated_at: Time = None


class LegacyPartnerInviteChanged(LiberalPayload):
    """`PartnerInviteChanged` reads these bodies as well and is subscribed to by its newer type."""

    notification_types: ClassVar[tuple[str, ...]] = ("PartnerInviteChangedNotification",)
    carries: ClassVar[str] = "partnerInvite"

    partner_invite: Nested[PartnerInvite] = None
    partner_invite_id: OptionalId = None
    action: Text | None = None
    last_updated_at: Time = None


class SubscriptionPlanChanged(LiberalPayload):
    """A plan changed, not the subscription of a user to it."""

    notification_types: ClassVar[tuple[str, ...]] = ("subscriptionPlan.changed",)
    carries: ClassVar[str] = "subscriptionPlan"

    subscription_plan: Nested[SubscriptionPlan] = None
    subscription_plan_id: OptionalId = None
    action: Text | None = None
    last_updated_at: Time = None


class IssueChanged(LiberalPayload):
    """An issue changed.

    Attributes:
        action: what was done with it; values not published.
        issue: only since some version after v3.168.0.
    """

    notification_types: ClassVar[tuple[str, ...]] = ("issue.changed", "IssueChangedNotification")
    carries: ClassVar[str] = "issue"

    issue: Nested[Issue] = None
    issue_id: OptionalId = None
    action: Text | None = None
    status: Text | None = None
    workflow_state: Text | None = None
    updated_at: Time = None


class FirmwareStatus(LiberalPayload):
    """A charge point reports how far its firmware update is.

    Attributes:
        protocol: the OCPP version whose words `firmware_status` uses, presumably.
    """

    notification_types: ClassVar[tuple[str, ...]] = ("FirmwareStatusNotification",)

    charge_point_id: OptionalId = None
    protocol: Text | None = None
    firmware_status: Text | None = None
    last_updated_at: Time = None
    external_id: Text | None = None
    firmware_update_execution_id: OptionalId = None
