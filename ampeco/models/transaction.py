"""Payments.

Source: the enum of Subscribe at v3.96.4 (type strings: confirmed). The payloads are not publicly documented:
what they carry is a guess by the matching REST resource.
"""

from collections.abc import Mapping
from typing import ClassVar

from ampeco.models.fields import OptionalId
from ampeco.models.objects.transaction import Transaction
from ampeco.models.payload import LoosePayload, Nested


class TransactionChanged(LoosePayload):
    """A payment was made or changed."""

    notification_types: ClassVar[tuple[str, ...]] = ("transaction.changed",)
    noun: ClassVar[str] = "transaction"
    found_at: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "transactionId": ("transaction.id",),
        "sessionId": ("transaction.sessionId", "session.id", "session"),
        "userId": ("transaction.userId", "user.id", "user"),
    }

    transaction: Nested[Transaction] = None
    transaction_id: OptionalId = None
    session_id: OptionalId = None
    user_id: OptionalId = None
