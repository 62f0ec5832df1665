"""Signs and verifies notifications, over the bytes as they travelled; knows no HTTP, JSON or settings.

AMPECO documents that the header `X-Signature` carries an HMAC-SHA256 of the request body, keyed with the API
token that made the notification subscription. How the digest is written down is not documented: hex in any
case and base64 (standard or url-safe, padded or not) are accepted, each with an optional `sha256=` in front.

Source: developers.ampeco.com, Notifications guide (header, algorithm and key: documented; encoding and the
variant with a timestamp: not publicly documented).
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, get_args

from ampeco.errors import SignatureError

SIGNATURE_HEADER = "X-Signature"
PREFIX = "sha256="

Encoding = Literal["hex", "HEX", "base64", "base64-unpadded", "base64url", "base64url-unpadded"]
ENCODINGS: tuple[Encoding, ...] = get_args(Encoding)

_HEX_CHARS = 64
_BASE64_CHARS = (43, 44)  # without and with padding
_TO_STANDARD = bytes.maketrans(b"-_", b"+/")


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


def the_body(body: bytes) -> bytes:
    """Signed string of the scheme `body`: the body as it is."""
    return body


# Other schemes (a timestamp in the signed string) exist at AMPECO but are not publicly documented.
SCHEMES: Mapping[str, Callable[[bytes], bytes]] = MappingProxyType({"body": the_body})


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
    signed_string: Callable[[bytes], bytes] = the_body,
) -> SigningKey:
    """Find the key that signed a body.

    Args:
        body: the bytes as received.
        signature: value of the header, None when there was none.
        keys: accepted keys; all of them are tried, whichever matches.
        signed_string: what is signed, given the body (one of `SCHEMES`).

    Raises:
        SignatureError: no key matches; so also with no keys at all.
    """
    if not signature:
        raise SignatureError("signature-missing")
    digest = _decode(signature)
    message = signed_string(body)
    matched: SigningKey | None = None
    for key in keys:
        if hmac.compare_digest(key.digest(message), digest) and matched is None:
            matched = key
    if matched is None:
        raise SignatureError("signature-mismatch")
    return matched


def _decode(signature: str | bytes) -> bytes:
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
