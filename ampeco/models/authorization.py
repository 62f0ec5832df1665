"""What became of an attempt to authorize.

Source: the enum of Subscribe at v3.96.4 (type strings: confirmed). The payloads are not publicly documented:
what they carry is a guess by the matching REST resource.
"""

from collections.abc import Mapping
from typing import ClassVar

from ampeco.models.fields import OptionalId
from ampeco.models.objects.authorization import Authorization
from ampeco.models.objects.authorization_legacy import AuthorizationLegacy
from ampeco.models.payload import LoosePayload, Nested


class AuthorizationChanged(LoosePayload):
    """An authorization was made or changed; in which of its REST versions it comes is not known."""

    notification_types: ClassVar[tuple[str, ...]] = ("authorization.changed",)
    noun: ClassVar[str] = "authorization"
    found_at: ClassVar[Mapping[str, tuple[str, ...]]] = {"authorizationId": ("authorization.id",)}

    authorization: Nested[Authorization] = None
    authorization_id: OptionalId = None


class LegacyAuthorizationChanged(LoosePayload):
    """The deprecated twin of `authorization.changed`, presumably in the older vocabulary."""

    notification_types: ClassVar[tuple[str, ...]] = ("AuthorizationNotification",)
    noun: ClassVar[str] = "authorization"
    found_at: ClassVar[Mapping[str, tuple[str, ...]]] = {"authorizationId": ("authorization.id",)}

    authorization: Nested[AuthorizationLegacy] = None
    authorization_id: OptionalId = None
