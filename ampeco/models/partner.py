"""Partners, their invitations and reports, and sub-operators.

Source: the enum of Subscribe at v3.96.4 (type strings: confirmed). The payloads are not publicly documented:
what they carry is a guess by the matching REST resource.
That a sub-operator comes with its id is inferred.
"""

from collections.abc import Mapping
from typing import ClassVar

from ampeco.models.fields import OptionalId
from ampeco.models.objects.partner import Partner
from ampeco.models.objects.partner_invite import PartnerInvite
from ampeco.models.objects.partner_settlement_report import PartnerSettlementReport
from ampeco.models.objects.sub_operator import SubOperator
from ampeco.models.payload import LoosePayload, Nested


class PartnerChanged(LoosePayload):
    """A partner changed."""

    notification_types: ClassVar[tuple[str, ...]] = ("partner.changed",)
    noun: ClassVar[str] = "partner"
    found_at: ClassVar[Mapping[str, tuple[str, ...]]] = {"partnerId": ("partner.id",)}

    partner: Nested[Partner] = None
    partner_id: OptionalId = None


class LegacyPartnerChanged(PartnerChanged):
    """The deprecated twin of `partner.changed`; Subscribe did not accept it any more at v3.96.4."""

    notification_types: ClassVar[tuple[str, ...]] = ("PartnerChangedNotification",)


class PartnerInviteChanged(LoosePayload):
    """The invitation of a user by a partner was sent, changed or accepted."""

    notification_types: ClassVar[tuple[str, ...]] = ("partnerInvite.changed",)
    noun: ClassVar[str] = "partnerInvite"
    found_at: ClassVar[Mapping[str, tuple[str, ...]]] = {"partnerInviteId": ("partnerInvite.id",)}

    partner_invite: Nested[PartnerInvite] = None
    partner_invite_id: OptionalId = None


class LegacyPartnerInviteChanged(PartnerInviteChanged):
    """The same under its older string."""

    notification_types: ClassVar[tuple[str, ...]] = ("PartnerInviteChangedNotification",)


class SubOperatorChanged(LoosePayload):
    """A sub-operator changed; perhaps nothing but its id comes along."""

    notification_types: ClassVar[tuple[str, ...]] = ("SubOperatorChangedNotification",)
    noun: ClassVar[str] = "subOperator"
    found_at: ClassVar[Mapping[str, tuple[str, ...]]] = {"subOperatorId": ("subOperator.id",)}

    sub_operator: Nested[SubOperator] = None
    sub_operator_id: OptionalId = None


class SettlementReportCreated(LoosePayload):
    """A settlement report for a partner was made."""

    notification_types: ClassVar[tuple[str, ...]] = ("settlementReport.created",)
    noun: ClassVar[str] = "settlementReport"
    synonyms: ClassVar[tuple[str, ...]] = ("partnerSettlementReport",)
    found_at: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "settlementReportId": ("settlementReport.id",),
        "partnerId": ("settlementReport.partnerId", "partner.id", "partner"),
    }

    settlement_report: Nested[PartnerSettlementReport] = None
    settlement_report_id: OptionalId = None
    partner_id: OptionalId = None
