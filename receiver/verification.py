"""From unverified to verified: the only place where a `VerifiedDelivery` comes into being.

It knows signatures and keys. It knows nothing of HTTP, of what the bytes mean or where they go.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from ampeco.signature import SCHEMES, SigningKey, verify

_PROOF: Final = object()


class RawDelivery(NamedTuple):
    """What a stranger sent, and when it arrived."""

    body: bytes
    signature: bytes | None
    received_at_ms: int


class VerifiedDelivery:
    """Bytes that were signed with one of our keys. Only `Verifier.verify` can make one."""

    __slots__ = ("body", "key_id", "received_at_ms")

    def __init__(self, body: bytes, key_id: str, received_at_ms: int, *, proof: object) -> None:
        if proof is not _PROOF:
            raise TypeError("a VerifiedDelivery comes from Verifier.verify")
        self.body = body
        self.key_id = key_id
        self.received_at_ms = received_at_ms


class Verifier:
    """Checks signatures against an ordered list of keys, which can be replaced while it works."""

    def __init__(self, keys: Sequence[SigningKey], scheme: str = "body") -> None:
        """
        Args:
            keys: accepted keys, at least one.
            scheme: name of the signed-string builder in `ampeco.signature.SCHEMES`.
        """
        self._signed_string = SCHEMES[scheme]
        self.keys: tuple[SigningKey, ...] = ()
        self.replace(keys)

    @property
    def key_ids(self) -> tuple[str, ...]:
        """Ids of the accepted keys, safe to show."""
        return tuple(key.key_id for key in self.keys)

    def replace(self, keys: Sequence[SigningKey]) -> None:
        """Accept these keys from now on, and no others."""
        if not keys:
            raise ValueError("without a key nothing can be verified")
        self.keys = tuple(keys)

    def verify(self, delivery: RawDelivery) -> VerifiedDelivery:
        """Turn a delivery into a verified one.

        Raises:
            SignatureError: the signature is missing, malformed or made with no key of ours.
        """
        key = verify(delivery.body, delivery.signature, self.keys, signed_string=self._signed_string)
        return VerifiedDelivery(delivery.body, key.key_id, delivery.received_at_ms, proof=_PROOF)
