"""Signing and verifying: every spelling of a digest passes, no altered bit does."""

import base64
import contextlib
import hashlib
import hmac
import string
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ampeco.errors import SignatureError
from ampeco.signature import ENCODINGS, SCHEMES, Encoding, SigningKey, sign, signed_at, verify

KEY = SigningKey.of("token-of-the-subscription")
OTHER = SigningKey.of("another-token")
BODY = b'{"notification":"BootNotification"}'
SAMPLES = Path(__file__).parents[2] / "samples"
URL_SAFE = bytes.maketrans(b"+/", b"-_")

encodings = st.sampled_from(ENCODINGS)
prefixes = st.sampled_from(["", "sha256=", "SHA256="])
secrets = st.binary(min_size=1, max_size=80)


def refusal(body: bytes, signature: str | bytes | None, *keys: SigningKey) -> str:
    with pytest.raises(SignatureError) as caught:
        verify(body, signature, keys or (KEY,))
    return caught.value.reason


@given(
    body=st.binary(max_size=300), secret=secrets, encoding=encodings, prefix=prefixes, as_bytes=st.booleans()
)
def test_accepts_what_was_signed_in_every_spelling(
    body: bytes, secret: bytes, encoding: Encoding, prefix: str, as_bytes: bool
) -> None:
    key = SigningKey(secret)
    signature = sign(body, key, encoding=encoding, prefix=prefix)
    assert verify(body, signature.encode() if as_bytes else signature, [OTHER, key, OTHER]) is key


@given(body=st.binary(min_size=1, max_size=300), place=st.integers(min_value=0), encoding=encodings)
def test_refuses_a_body_with_one_bit_flipped(body: bytes, place: int, encoding: Encoding) -> None:
    signature = sign(body, KEY, encoding=encoding)
    flipped = bytearray(body)
    flipped[place // 8 % len(body)] ^= 1 << place % 8
    assert refusal(bytes(flipped), signature) == "signature-mismatch"


@given(bit=st.integers(0, 255), encoding=encodings, prefix=prefixes)
def test_refuses_a_digest_with_one_bit_flipped(bit: int, encoding: Encoding, prefix: str) -> None:
    digest = bytearray(hmac.new(KEY.secret, BODY, hashlib.sha256).digest())
    digest[bit // 8] ^= 1 << bit % 8
    spelled = {
        "hex": digest.hex(),
        "HEX": digest.hex().upper(),
        "base64": base64.b64encode(digest).decode(),
        "base64-unpadded": base64.b64encode(digest).decode().rstrip("="),
        "base64url": base64.urlsafe_b64encode(digest).decode(),
        "base64url-unpadded": base64.urlsafe_b64encode(digest).decode().rstrip("="),
    }[encoding]
    assert refusal(BODY, prefix + spelled) == "signature-mismatch"


def test_refuses_every_single_bit_flipped_in_a_real_body() -> None:
    """All bits of one sample, not a selection."""
    body = bytearray((SAMPLES / "HardwareStatusNotification" / "typical" / "body.json").read_bytes())
    signature = sign(bytes(body), KEY)
    assert verify(bytes(body), signature, [KEY]) is KEY
    for bit in range(8 * len(body)):
        body[bit // 8] ^= 1 << bit % 8
        assert refusal(bytes(body), signature) == "signature-mismatch"
        body[bit // 8] ^= 1 << bit % 8


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_refuses_every_single_bit_flipped_in_a_spelled_digest(encoding: Encoding) -> None:
    signature = sign(BODY, KEY, encoding=encoding).encode()
    for bit in range(8 * len(signature)):
        flipped = bytearray(signature)
        flipped[bit // 8] ^= 1 << bit % 8
        if flipped.lower() == signature.lower() and encoding in ("hex", "HEX"):
            continue  # the case of a hex digit says nothing
        if flipped.translate(URL_SAFE).rstrip(b"=") == signature.translate(URL_SAFE).rstrip(b"="):
            continue  # nor does the alphabet, nor the padding of base64
        assert refusal(BODY, bytes(flipped)) in ("signature-malformed", "signature-mismatch")


@given(encoding=encodings, place=st.integers(min_value=0), choice=st.integers(min_value=0))
def test_refuses_a_signature_with_one_digit_replaced(encoding: Encoding, place: int, choice: int) -> None:
    """Also in the last digit of base64, whose lowest bits carry nothing."""
    signature = sign(BODY, KEY, encoding=encoding)
    alphabet = string.digits + {"hex": "abcdef", "HEX": "ABCDEF"}.get(encoding, string.ascii_letters)
    place %= len(signature.rstrip("="))
    digit = alphabet[choice % len(alphabet)]
    assume(digit != signature[place])
    changed = signature[:place] + digit + signature[place + 1 :]
    assert refusal(BODY, changed) in ("signature-malformed", "signature-mismatch")


@given(encoding=encodings, prefix=prefixes, length=st.integers(min_value=0))
def test_refuses_a_truncated_signature(encoding: Encoding, prefix: str, length: int) -> None:
    signature = prefix + sign(BODY, KEY, encoding=encoding).rstrip("=")
    length %= len(signature)
    assert refusal(BODY, signature[:length]) in ("signature-missing", "signature-malformed")


@given(st.one_of(st.text(), st.binary()))
def test_refuses_arbitrary_signatures_with_its_own_error_only(signature: str | bytes) -> None:
    refusal(BODY, signature)


@pytest.mark.parametrize("signature", [None, "", b""])
def test_says_that_a_signature_is_missing(signature: str | bytes | None) -> None:
    assert refusal(BODY, signature) == "signature-missing"


@pytest.mark.parametrize("signature", ["sha256=", "sha1=" + "0" * 40, "0" * 63, "0" * 65, "g" * 64, "=" * 44])
def test_says_that_a_signature_is_malformed(signature: str) -> None:
    assert refusal(BODY, signature) == "signature-malformed"


def test_refuses_everything_without_keys() -> None:
    with pytest.raises(SignatureError):
        verify(BODY, sign(BODY, KEY), [])


def test_tries_every_key_and_says_which_matched() -> None:
    assert verify(BODY, sign(BODY, KEY), [OTHER, KEY]).key_id == KEY.key_id
    assert refusal(BODY, sign(BODY, KEY), OTHER) == "signature-mismatch"


AT = b"2026-11-24T10:00:00.123456Z"
FORMS = {
    "body": BODY,
    "timestamp.body": AT + b"." + BODY,
    "timestamp+body": AT + BODY,
    "body.timestamp": BODY + b"." + AT,
    "body+timestamp": BODY + AT,
}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_signs_what_the_scheme_says(scheme: str) -> None:
    """The forms stand here a second time, spelled out."""
    signature = sign(FORMS[scheme], KEY)
    headers = {b"x-timestamp": AT}
    assert verify(BODY, signature, [OTHER, KEY], headers=headers, signed_string=SCHEMES[scheme]) is KEY


def test_a_scheme_of_ones_own_sees_the_headers() -> None:
    signature = sign(b"nonce-7:" + BODY, KEY)
    headers = {b"x-nonce": b"nonce-7"}
    own = lambda body, headers: headers[b"x-nonce"] + b":" + body  # noqa: E731
    assert verify(BODY, signature, [KEY], headers=headers, signed_string=own) is KEY


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({}, "timestamp-missing"),
        ({b"x-timestamp": b""}, "timestamp-missing"),
        ({b"x-timestamp": b"yesterday"}, "timestamp-malformed"),
        ({b"x-timestamp": b"1700000000"}, "timestamp-malformed"),
        ({b"x-timestamp": b"2026-11-24"}, "timestamp-malformed"),
        ({b"x-timestamp": AT + b"x"}, "timestamp-malformed"),
        ({b"x-timestamp": "\uff12".encode() + AT[1:]}, "timestamp-malformed"),
        ({b"x-timestamp": b"2026-13-45T10:00:00Z"}, "timestamp-malformed"),
    ],
)
def test_a_timestamp_that_is_none_is_refused(headers: dict[bytes, bytes], reason: str) -> None:
    with pytest.raises(SignatureError) as caught:
        signed_at(headers)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    "text",
    [b"2026-11-24T10:00:00Z", b"2026-11-24T10:00:00", b"2026-11-24T12:00:00.000+02:00"],
)
def test_a_timestamp_is_read_with_or_without_zone(text: bytes) -> None:
    assert signed_at({b"x-timestamp": text}) == datetime(2026, 11, 24, 10, tzinfo=UTC)


@pytest.mark.parametrize("scheme", [name for name in SCHEMES if name != "body"])
def test_a_captured_request_cannot_be_cut_elsewhere(scheme: str) -> None:
    """The same signed string as another timestamp and another body: no such body is a JSON object."""
    whole, separator = FORMS[scheme], b"." if "." in scheme else b""
    found = []
    for at in range(1, len(whole)):
        first, last = whole[:at], whole[at:]
        for text, body in ((first, last.removeprefix(separator)), (last, first.removesuffix(separator))):
            with contextlib.suppress(SignatureError):
                if SCHEMES[scheme](body, {b"x-timestamp": text}) == whole:
                    found.append(body)
    assert BODY in found
    assert [body for body in found if body[:1] == b"{" and body[-1:] == b"}"] == [BODY]


def test_agrees_with_the_definition_of_hmac_sha256() -> None:
    """RFC 4231, test case 2."""
    expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    assert sign(b"what do ya want for nothing?", SigningKey.of("Jefe")) == expected


def test_a_key_shows_its_id_and_never_its_secret() -> None:
    key = SigningKey.of("very-secret-token")
    assert key.key_id == hashlib.sha256(b"very-secret-token").hexdigest()[:8]
    assert key.key_id in repr(key)
    assert "very-secret-token" not in f"{key!r} {key}"


@pytest.mark.parametrize("text", ["", "half\ud83d"])
def test_refuses_an_unusable_key_without_quoting_it(text: str) -> None:
    with pytest.raises(ValueError) as caught:
        SigningKey.of(text)
    assert "half" not in str(caught.value)
    assert caught.value.__cause__ is None
