"""Users and what belongs to them. Their payloads hold personal data.

Source: the enum of Subscribe at v3.96.4 (type strings: confirmed), index of the specification v3.251.8 in its
order (user, invoice details: inferred). The keys these sit under, and everything else here, are guesses.
"""

from collections.abc import Mapping
from typing import ClassVar

from ampeco.models.fields import OptionalId
from ampeco.models.objects.id_tag import IdTag
from ampeco.models.objects.invoice_details import InvoiceDetails
from ampeco.models.objects.payment_method import PaymentMethod
from ampeco.models.objects.subscription import Subscription
from ampeco.models.objects.user import User
from ampeco.models.payload import LoosePayload, Nested


class UserChanged(LoosePayload):
    """A user changed."""

    notification_types: ClassVar[tuple[str, ...]] = ("UserChangedNotification",)
    noun: ClassVar[str] = "user"
    found_at: ClassVar[Mapping[str, tuple[str, ...]]] = {"userId": ("user.id",)}

    user: Nested[User] = None
    user_id: OptionalId = None


class UserBalanceChanged(LoosePayload):
    """The balance of a user changed; `balance` is a guess, its currency is not known."""

    notification_types: ClassVar[tuple[str, ...]] = ("userBalance.changed",)
    found_at: ClassVar[Mapping[str, tuple[str, ...]]] = {"userId": ("user.id", "user")}

    user_id: OptionalId = None
    balance: float | None = None


class UserSubscriptionChanged(LoosePayload):
    """The plan a user subscribed to changed (no notification subscription)."""

    notification_types: ClassVar[tuple[str, ...]] = ("user.subscription.changed",)
    noun: ClassVar[str] = "subscription"
    found_at: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "subscriptionId": ("subscription.id",),
        "userId": ("subscription.userId", "user.id", "user"),
    }

    subscription: Nested[Subscription] = None
    subscription_id: OptionalId = None
    user_id: OptionalId = None


class LegacyUserSubscriptionChanged(UserSubscriptionChanged):
    """The same under its other string; whether AMPECO sends both is not known."""

    notification_types: ClassVar[tuple[str, ...]] = ("user.subscriptionChanged",)


class UserPaymentMethodChanged(LoosePayload):
    """A payment method of a user was added, changed or removed."""

    notification_types: ClassVar[tuple[str, ...]] = ("user.paymentMethod.changed",)
    noun: ClassVar[str] = "paymentMethod"
    found_at: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "paymentMethodId": ("paymentMethod.id",),
        "userId": ("paymentMethod.userId", "user.id", "user"),
    }

    payment_method: Nested[PaymentMethod] = None
    payment_method_id: OptionalId = None
    user_id: OptionalId = None


class LegacyPaymentMethodChanged(UserPaymentMethodChanged):
    """The same under its older string."""

    notification_types: ClassVar[tuple[str, ...]] = ("PaymentMethodChangedNotification",)


class UserInvoiceDetailsChanged(LoosePayload):
    """What a user wants on invoices changed. The details themselves name no user."""

    notification_types: ClassVar[tuple[str, ...]] = ("user.invoiceDetails.changed",)
    noun: ClassVar[str] = "invoiceDetails"
    found_at: ClassVar[Mapping[str, tuple[str, ...]]] = {"userId": ("user.id", "user")}

    invoice_details: Nested[InvoiceDetails] = None
    user_id: OptionalId = None


class IdTagChanged(LoosePayload):
    """An id tag (a card, a MAC address, a contract id) was added, changed or removed."""

    notification_types: ClassVar[tuple[str, ...]] = ("idTag.changed",)
    noun: ClassVar[str] = "idTag"
    found_at: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "idTagId": ("idTag.id",),
        "userId": ("idTag.userId", "user.id", "user"),
    }

    id_tag: Nested[IdTag] = None
    id_tag_id: OptionalId = None
    user_id: OptionalId = None
