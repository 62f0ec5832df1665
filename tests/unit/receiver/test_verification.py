"""Verifying is the only way from raw to verified."""

import pytest

from ampeco.errors import SignatureError
from ampeco.signature import SigningKey, sign
from receiver.verification import RawDelivery, VerifiedDelivery, Verifier

OLD, NEW = SigningKey.of("old"), SigningKey.of("new")


def _signed(body: bytes, key: SigningKey) -> RawDelivery:
    return RawDelivery(body, sign(body, key).encode(), 17)


def test_says_which_key_matched_and_keeps_the_bytes() -> None:
    verified = Verifier([NEW, OLD]).verify(_signed(b"{}", OLD))
    assert (verified.body, verified.key_id, verified.received_at_ms) == (b"{}", OLD.key_id, 17)


def test_a_verified_delivery_cannot_be_made_by_hand() -> None:
    with pytest.raises(TypeError):
        VerifiedDelivery(b"{}", "00000000", 17, proof=object())


def test_replaced_keys_count_at_once() -> None:
    verifier = Verifier([OLD])
    verifier.replace([NEW])
    assert verifier.key_ids == (NEW.key_id,)
    verifier.verify(_signed(b"{}", NEW))
    with pytest.raises(SignatureError):
        verifier.verify(_signed(b"{}", OLD))


def test_without_keys_there_is_no_verifier() -> None:
    with pytest.raises(ValueError, match="without a key"):
        Verifier([])
