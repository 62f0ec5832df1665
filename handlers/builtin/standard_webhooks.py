"""Signs what is sent to another service, as Standard Webhooks 1.0 describes it. Pure.

Source: https://www.standardwebhooks.com (specification 1.0.0: headers, signed content, form of secrets).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence

PREFIX = "whsec_"
LEAST_BYTES, MOST_BYTES = 24, 64  # of a secret, decoded


def keys_of(secrets: str) -> tuple[bytes, ...]:
    """Decode secrets, separated by commas or blanks: the newest, and an older one until its receiver has changed.

    Raises:
        ValueError: there is none, or one has another form. The message does not quote it.
    """
    found = []
    for number, text in enumerate(secrets.replace(",", " ").split(), 1):
        try:
            key = base64.b64decode(text.removeprefix(PREFIX).encode(), validate=True)
        except (binascii.Error, ValueError):
            raise ValueError(f"secret {number} is not base64; write {PREFIX} and base64 after it") from None
        if not LEAST_BYTES <= len(key) <= MOST_BYTES:
            raise ValueError(f"secret {number} has {len(key)} bytes; it needs {LEAST_BYTES} to {MOST_BYTES}")
        found.append(key)
    if not found:
        raise ValueError(f"has no secret; write {PREFIX} and base64 after it")
    return tuple(found)


def headers_of(id: str, at_s: int, body: bytes, keys: Sequence[bytes]) -> dict[str, str]:
    """Return the headers for one attempt.

    Args:
        id: the same for each attempt at one event, so that its receiver can recognize a repetition.
        at_s: time of the attempt, Unix seconds.
        keys: one signature is made with each.
    """
    signed = f"{id}.{at_s}.".encode() + body
    made = [base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode() for key in keys]
    return {
        "webhook-id": id,
        "webhook-timestamp": str(at_s),
        "webhook-signature": " ".join(f"v1,{signature}" for signature in made),
    }
