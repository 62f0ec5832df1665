"""Verifies signatures: the only place that makes a `VerifiedDelivery`.

It knows signatures and keys. It knows nothing of HTTP, of payloads or of the log.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

from ampeco.errors import SignatureError
from ampeco.signature import SCHEMES, TIMESTAMP_HEADER, Headers, SigningKey, signed_at, verify

AUTO = "auto"
CHOICES: Final = (*SCHEMES, AUTO)
"""Schemes of a `Verifier`: a fixed one, or `auto` to detect it."""

STALE_AFTER_S: Final = 300
"""Age in seconds above which a signed timestamp is marked `stale`. A first attempt takes less."""

_PROOF: Final = object()
_UNSIGNED: Final = "body"


class RawDelivery(NamedTuple):
    """An unverified request, and when it arrived. Headers are pairs, names in lower case."""

    body: bytes
    signature: bytes | None
    received_at_ms: int
    headers: Iterable[tuple[bytes, bytes]] = ()


class VerifiedDelivery:
    """Bytes that were signed with one of our keys. Only `Verifier.verify` can make one.

    Attributes:
        key_id: id of the key that signed them.
        stale: whether the signed timestamp is old: a late retry, a resend, or a replay.
        headers: as they came, names in lower case. Nothing but the timestamp is signed.
        traceparent: of the span that follows it; empty where traces are off.
    """

    __slots__ = ("body", "headers", "key_id", "received_at_ms", "stale", "traceparent")

    def __init__(
        self,
        body: bytes,
        key_id: str,
        received_at_ms: int,
        stale: bool = False,
        headers: Iterable[tuple[bytes, bytes]] = (),
        *,
        proof: object,
    ) -> None:
        if proof is not _PROOF:
            raise TypeError("a VerifiedDelivery comes from Verifier.verify")
        self.body = body
        self.key_id = key_id
        self.received_at_ms = received_at_ms
        self.stale = stale
        self.headers = headers
        self.traceparent = ""


class Verifier:
    """Checks signatures against an ordered list of keys. The list can be replaced at any time.

    Attributes:
        headers: names of the headers that it needs in addition to the signature, in lower case.
    """

    def __init__(
        self,
        keys: Sequence[SigningKey],
        scheme: str = _UNSIGNED,
        *,
        tolerance_s: int | None = None,
        on_stale: Callable[[], object] = lambda: None,
    ) -> None:
        """
        Args:
            keys: accepted keys, at least one.
            scheme: one of `CHOICES`.
            tolerance_s: age above which a signed timestamp is refused, in seconds; None refuses none.
            on_stale: called for each accepted request that is stale.
        """
        self._scheme = scheme
        self._auto = _Auto() if scheme == AUTO else None
        self._tolerance_s = tolerance_s
        self._on_stale = on_stale
        self.headers = frozenset() if scheme == _UNSIGNED else frozenset((TIMESTAMP_HEADER.lower().encode(),))
        self.keys: tuple[SigningKey, ...] = ()
        self.replace(keys)

    @property
    def key_ids(self) -> tuple[str, ...]:
        """Ids of the accepted keys; not secret."""
        return tuple(key.key_id for key in self.keys)

    def replace(self, keys: Sequence[SigningKey]) -> None:
        """Accept only these keys from now on."""
        if not keys:
            raise ValueError("at least one key is needed")
        self.keys = tuple(keys)

    def verify(self, delivery: RawDelivery) -> VerifiedDelivery:
        """Verify the signature of a request.

        Raises:
            SignatureError: the signature is missing or malformed, fits no accepted key, or is older than tolerated.
        """
        body, signature, received_at_ms, pairs = delivery
        if self._scheme == _UNSIGNED:
            key, stale = verify(body, signature, self.keys), False
        else:
            headers = self._headers(pairs)
            key, scheme = self._signed_by(body, signature, headers)
            stale = scheme != _UNSIGNED and self._is_stale(headers, received_at_ms)
        return VerifiedDelivery(body, key.key_id, received_at_ms, stale, pairs, proof=_PROOF)

    def _headers(self, pairs: Iterable[tuple[bytes, bytes]]) -> Headers:
        found: dict[bytes, bytes] = {}
        for name, value in pairs:
            if name in self.headers and name in found:
                raise SignatureError("timestamp-malformed")
            found[name] = value
        return found

    def _signed_by(self, body: bytes, signature: bytes | None, headers: Headers) -> tuple[SigningKey, str]:
        if self._auto is not None:
            return self._auto.signed_by(body, signature, self.keys, headers)
        signed_string = SCHEMES[self._scheme]
        return verify(body, signature, self.keys, headers=headers, signed_string=signed_string), self._scheme

    def _is_stale(self, headers: Headers, received_at_ms: int) -> bool:
        """Return whether a verified timestamp is old. A time in the future is not."""
        age_s = received_at_ms / 1000 - signed_at(headers).timestamp()
        if self._tolerance_s is not None and age_s > self._tolerance_s:
            raise SignatureError("signature-stale")
        if age_s <= STALE_AFTER_S:
            return False
        self._on_stale()
        return True


class _Auto:
    """Detects the scheme of each key, and tries it first from then on."""

    def __init__(self) -> None:
        self._pinned: dict[str, str] = {}  # key id -> scheme
        self._logged: set[tuple[str, str]] = set()

    def signed_by(
        self, body: bytes, signature: bytes | None, keys: Sequence[SigningKey], headers: Headers
    ) -> tuple[SigningKey, str]:
        """Return key and scheme of a signature; `signature-mismatch` when no scheme fits."""
        pinned: dict[str, list[SigningKey]] = {}
        for key in keys:
            if key.key_id in self._pinned:
                pinned.setdefault(self._pinned[key.key_id], []).append(key)
        for scheme, those in (*pinned.items(), *((scheme, keys) for scheme in SCHEMES)):
            try:
                key = verify(body, signature, those, headers=headers, signed_string=SCHEMES[scheme])
            except SignatureError as error:
                if error.reason not in _NOT_THIS_ONE:
                    raise
            else:
                self._pin(key.key_id, scheme)
                return key, scheme
        raise SignatureError("signature-mismatch")

    def _pin(self, key_id: str, scheme: str) -> None:
        if self._pinned.get(key_id) == scheme:
            return
        self._pinned[key_id] = scheme
        # Two subscriptions of one token may alternate between schemes: log each only once.
        if (key_id, scheme) not in self._logged:
            self._logged.add((key_id, scheme))
            # Every command imports this module with the settings; most of them log nothing.
            from receiver.logging import get_logger

            get_logger(__name__).info("signature.scheme_pinned", key_id=key_id, scheme=scheme)


_NOT_THIS_ONE: Final = frozenset(("signature-mismatch", "timestamp-missing", "timestamp-malformed"))
