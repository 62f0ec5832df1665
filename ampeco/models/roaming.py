"""Roaming: charge detail records and the connections to platforms.

Source: the enum of Subscribe at v3.96.4 (type strings: confirmed). The payloads are not publicly documented:
what they carry is a guess by the matching REST resource.
"""

from collections.abc import Mapping
from typing import ClassVar

from ampeco.models.fields import OptionalId
from ampeco.models.objects.cdr import Cdr
from ampeco.models.objects.roaming_platform import RoamingPlatform
from ampeco.models.payload import LoosePayload, Nested


class CdrReceived(LoosePayload):
    """A charge detail record arrived from a roaming platform."""

    notification_types: ClassVar[tuple[str, ...]] = ("cdr.received",)
    noun: ClassVar[str] = "cdr"
    found_at: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "cdrId": ("cdr.id",),
        "sessionId": ("cdr.sessionId", "session.id", "session"),
    }

    cdr: Nested[Cdr] = None
    cdr_id: OptionalId = None
    session_id: OptionalId = None


class RoamingPlatformChanged(LoosePayload):
    """A roaming connection changed; the type string keeps the older noun."""

    notification_types: ClassVar[tuple[str, ...]] = ("roamingPlatform.changed",)
    noun: ClassVar[str] = "roamingPlatform"
    synonyms: ClassVar[tuple[str, ...]] = ("roamingConnection", "roaming_connection")
    found_at: ClassVar[Mapping[str, tuple[str, ...]]] = {"roamingPlatformId": ("roamingPlatform.id",)}

    roaming_platform: Nested[RoamingPlatform] = None
    roaming_platform_id: OptionalId = None
