"""Tariffs and the plans that users subscribe to.

Source: the enum of Subscribe at v3.96.4 (type strings: confirmed), index of the specification v3.251.8 in its
order (tariff: inferred). The keys these sit under, and the plan, are guesses.
"""

from collections.abc import Mapping
from typing import ClassVar

from ampeco.models.fields import OptionalId
from ampeco.models.objects.subscription_plan import SubscriptionPlan
from ampeco.models.objects.tariff import Tariff
from ampeco.models.payload import LoosePayload, Nested


class TariffChanged(LoosePayload):
    """A tariff changed; a tariff group may come in its place or beside it."""

    notification_types: ClassVar[tuple[str, ...]] = ("TariffChangedNotification",)
    noun: ClassVar[str] = "tariff"
    found_at: ClassVar[Mapping[str, tuple[str, ...]]] = {"tariffId": ("tariff.id",)}

    tariff: Nested[Tariff] = None
    tariff_id: OptionalId = None


class SubscriptionPlanChanged(LoosePayload):
    """A plan changed, not the subscription of somebody to it."""

    notification_types: ClassVar[tuple[str, ...]] = ("subscriptionPlan.changed",)
    noun: ClassVar[str] = "subscriptionPlan"
    found_at: ClassVar[Mapping[str, tuple[str, ...]]] = {"subscriptionPlanId": ("subscriptionPlan.id",)}

    subscription_plan: Nested[SubscriptionPlan] = None
    subscription_plan_id: OptionalId = None
