"""Signs and verifies notifications, over the bytes as they travelled; knows no HTTP, JSON or settings.

AMPECO documents that the header `X-Signature` carries an HMAC-SHA256 of the request body, keyed with the API
token that made the notification subscription. The encoding of the digest is not documented. Hex in any case and
base64 (standard or url-safe, padded or not) are accepted, each with an optional `sha256=` in front.

AMPECO can include a timestamp in the signature (`includeTimestampInSignature`) and does not document how. Every
callback carries `X-Timestamp`. So the likely signed strings are that header's text and the body, in either order,
with "." or nothing between them. `SCHEMES` has all four.

Source: published contract v3.110.0 (both headers, algorithm, key); the encoding and the four forms are inferred.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Literal, TypeAlias, get_args

from ampeco.errors import SignatureError

SIGNATURE_HEADER = "X-Signature"
TIMESTAMP_HEADER = "X-Timestamp"
PREFIX = "sha256="

Encoding = Literal["hex", "HEX", "base64", "base64-unpadded", "base64url", "base64url-unpadded"]
ENCODINGS: tuple[Encoding, ...] = get_args(Encoding)

_HEX_CHARS = 64
_BASE64_CHARS = (43, 44)  # without and with padding
_TO_STANDARD = bytes.maketrans(b"-_", b"+/")
_TIMESTAMP = TIMESTAMP_HEADER.lower().encode()
_DATE_AND_TIME = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)?")


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key that signs notifications: the API token of the notification subscription, as bytes.

    Attributes:
        key_id: first 8 hex digits of SHA-256 of the secret; safe to log and to publish.
    """

    secret: bytes = field(repr=False)
    key_id: str = field(init=False, compare=False)
    _keyed: hmac.HMAC = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        if not self.secret:
            raise ValueError("a signing key must not be empty")
        object.__setattr__(self, "key_id", hashlib.sha256(self.secret).hexdigest()[:8])
        object.__setattr__(self, "_keyed", hmac.new(self.secret, digestmod="sha256"))

    def digest(self, message: bytes) -> bytes:
        """HMAC-SHA256 of a message."""
        keyed = self._keyed.copy()  # the work that depends on the key alone is done once
        keyed.update(message)
        return keyed.digest()

    @classmethod
    def of(cls, text: str) -> "SigningKey":
        """The key for an API token given as text."""
        try:
            return cls(text.encode())
        except UnicodeEncodeError:  # its message would quote the token
            raise ValueError("a signing key must be valid Unicode") from None


Headers: TypeAlias = Mapping[bytes, bytes]
"""Headers of a request, names in lower case."""

SignedString: TypeAlias = Callable[[bytes, Headers], bytes]
"""Builds what is signed from a body and the headers; raises SignatureError where a header it needs is missing."""


def the_body(body: bytes, headers: Headers = MappingProxyType({})) -> bytes:
    """Signed string of the scheme `body`: the body as it is."""
    return body


def timestamp_of(headers: Headers) -> bytes:
    """The text of `X-Timestamp`, as it is signed.

    Only a date and time is accepted. Otherwise a captured request could be cut elsewhere, into another timestamp and
    another body under the same signature.

    Raises:
        SignatureError: `timestamp-missing`, or `timestamp-malformed` when it is not an ISO 8601 date and time.
    """
    text = headers.get(_TIMESTAMP)
    if not text:
        raise SignatureError("timestamp-missing")
    if not _DATE_AND_TIME.fullmatch(text):
        raise SignatureError("timestamp-malformed")
    return text


def signed_at(headers: Headers) -> datetime:
    """The time that `X-Timestamp` says, aware; without a zone it is UTC.

    Raises:
        SignatureError: as `timestamp_of`.

    Source: published contract v3.110.0 (ISO 8601 with microseconds and `Z`); whether it is the time of the event or
    of the attempt is not said.
    """
    try:
        found = datetime.fromisoformat(timestamp_of(headers).decode())
    except ValueError:  # the 45th of a month
        raise SignatureError("timestamp-malformed") from None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


SCHEMES: Mapping[str, SignedString] = MappingProxyType(
    {
        "body": the_body,
        "timestamp.body": lambda body, headers: b"%b.%b" % (timestamp_of(headers), body),
        "timestamp+body": lambda body, headers: timestamp_of(headers) + body,
        "body.timestamp": lambda body, headers: b"%b.%b" % (body, timestamp_of(headers)),
        "body+timestamp": lambda body, headers: body + timestamp_of(headers),
    }
)
"""Name -> what is signed. A "." in a name is in the signed string too; a "+" stands for nothing."""


def sign(body: bytes, key: SigningKey, *, encoding: Encoding = "hex", prefix: str = "") -> str:
    """Value of the signature header for a body, as a sender writes it."""
    digest = key.digest(body)
    match encoding:
        case "hex":
            text = digest.hex()
        case "HEX":
            text = digest.hex().upper()
        case "base64" | "base64-unpadded":
            text = base64.b64encode(digest).decode()
        case "base64url" | "base64url-unpadded":
            text = base64.urlsafe_b64encode(digest).decode()
    return prefix + (text.rstrip("=") if encoding.endswith("-unpadded") else text)


def verify(
    body: bytes,
    signature: str | bytes | None,
    keys: Sequence[SigningKey],
    *,
    headers: Headers = MappingProxyType({}),
    signed_string: SignedString = the_body,
) -> SigningKey:
    """Find the key that signed a body.

    Args:
        body: the bytes as received.
        signature: value of the header, None when there was none.
        keys: accepted keys; all of them are tried, whichever matches.
        headers: what `signed_string` may need in addition to the body.
        signed_string: what is signed (one of `SCHEMES`).

    Raises:
        SignatureError: no key matches; so also with no keys at all.
    """
    digest = digest_in(signature)
    message = signed_string(body, headers)
    matched: SigningKey | None = None
    for key in keys:
        if hmac.compare_digest(key.digest(message), digest) and matched is None:
            matched = key
    if matched is None:
        raise SignatureError("signature-mismatch")
    return matched


def digest_in(signature: str | bytes | None) -> bytes:
    """The digest that a signature header holds.

    Raises:
        SignatureError: `signature-missing` or `signature-malformed`.
    """
    if not signature:
        raise SignatureError("signature-missing")
    try:
        raw = (signature.encode("ascii") if isinstance(signature, str) else bytes(signature)).strip()
        if raw[: len(PREFIX)].lower() == PREFIX.encode():
            raw = raw[len(PREFIX) :]
        if len(raw) == _HEX_CHARS:
            return binascii.unhexlify(raw)
        if len(raw) in _BASE64_CHARS:
            return _decode_base64(raw)
    except ValueError:  # binascii.Error and UnicodeEncodeError are ValueErrors
        pass
    raise SignatureError("signature-malformed") from None


def _decode_base64(raw: bytes) -> bytes:
    """Only the one spelling an encoder produces: lax decoding would accept altered trailing bits."""
    standard = raw.translate(_TO_STANDARD).rstrip(b"=")
    digest = binascii.a2b_base64(standard + b"=", strict_mode=True)
    if len(digest) != hashlib.sha256().digest_size or base64.b64encode(digest) != standard + b"=":
        raise ValueError("not the canonical base64 of a digest")
    return digest
