"""Verifying is the only way from raw to verified."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from structlog.testing import capture_logs

from ampeco.errors import SignatureError
from ampeco.signature import SCHEMES, SigningKey, sign
from receiver.verification import STALE_AFTER_S, RawDelivery, VerifiedDelivery, Verifier

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
    with pytest.raises(ValueError, match="at least one key"):
        Verifier([])


BODY = b'{"notification":"BootNotification"}'
NOW_S = int(datetime(2026, 11, 24, 10, tzinfo=UTC).timestamp())
TIMED = [name for name in SCHEMES if name != "body"]


def signed(scheme: str, *, key: SigningKey = OLD, age_s: float = 1.0) -> RawDelivery:
    """A request signed `age_s` before it arrives, as AMPECO might sign it."""
    at = datetime.fromtimestamp(NOW_S - age_s, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ").encode()
    message = SCHEMES[scheme](BODY, {b"x-timestamp": at})
    headers = ((b"content-type", b"application/json"), (b"x-timestamp", at))
    return RawDelivery(BODY, sign(message, key).encode(), NOW_S * 1000, headers)


def with_timestamp(delivery: RawDelivery, at: bytes | None) -> RawDelivery:
    return delivery._replace(headers=((b"x-timestamp", at),) if at is not None else ())


def refusal(verifier: Verifier, delivery: RawDelivery) -> str:
    with pytest.raises(SignatureError) as caught:
        verifier.verify(delivery)
    return caught.value.reason


@pytest.mark.parametrize("scheme", SCHEMES)
def test_one_scheme_accepts_its_own_form_and_no_other(scheme: str) -> None:
    verifier = Verifier([NEW, OLD], scheme)
    assert verifier.verify(signed(scheme)).key_id == OLD.key_id
    for other in SCHEMES.keys() - {scheme}:
        assert refusal(verifier, signed(other)) == "signature-mismatch"


@pytest.mark.parametrize("scheme", TIMED)
def test_a_signed_timestamp_can_be_neither_changed_nor_left_out(scheme: str) -> None:
    for verifier, missing in (
        (Verifier([OLD], scheme), "timestamp-missing"),
        (Verifier([OLD], "auto"), "signature-mismatch"),
    ):
        delivery = signed(scheme)
        changed = with_timestamp(delivery, b"2026-11-24T10:00:01.000000Z")
        assert refusal(verifier, changed) == "signature-mismatch"
        assert refusal(verifier, with_timestamp(delivery, None)) == missing


@pytest.mark.parametrize("scheme", [*TIMED, "auto"])
def test_an_old_request_is_accepted_marked_and_counted(scheme: str) -> None:
    stale: list[None] = []
    verifier = Verifier([OLD], scheme, on_stale=lambda: stale.append(None))
    form = "timestamp.body" if scheme == "auto" else scheme
    assert not verifier.verify(signed(form, age_s=STALE_AFTER_S)).stale
    assert stale == []
    assert verifier.verify(signed(form, age_s=STALE_AFTER_S + 1)).stale
    assert stale == [None]


def test_a_timestamp_in_the_future_is_not_old() -> None:
    assert (
        not Verifier([OLD], "timestamp.body", tolerance_s=1)
        .verify(signed("timestamp.body", age_s=-9e6))
        .stale
    )


@pytest.mark.parametrize("scheme", [*TIMED, "auto"])
def test_an_old_request_is_refused_only_beyond_the_tolerance(scheme: str) -> None:
    stale: list[None] = []
    verifier = Verifier([OLD], scheme, tolerance_s=600, on_stale=lambda: stale.append(None))
    form = "body+timestamp" if scheme == "auto" else scheme
    assert verifier.verify(signed(form, age_s=600)).stale
    assert refusal(verifier, signed(form, age_s=601)) == "signature-stale"
    assert stale == [None]


@pytest.mark.parametrize("at", [b"2000-01-01T00:00:00Z", b"nonsense", None])
@pytest.mark.parametrize("scheme", ["body", "auto"])
def test_a_timestamp_that_is_not_signed_refuses_and_marks_nothing(scheme: str, at: bytes | None) -> None:
    verifier = Verifier([OLD], scheme, tolerance_s=1)
    assert not verifier.verify(with_timestamp(signed("body"), at)).stale


class Digests:
    """Counts what a key is asked for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.messages: list[bytes] = []
        digest = SigningKey.digest

        def counted(key: SigningKey, message: bytes) -> bytes:
            self.messages.append(message)
            return digest(key, message)

        monkeypatch.setattr(SigningKey, "digest", counted)

    def asked(self) -> int:
        """How many since the last time."""
        count = len(self.messages)
        self.messages.clear()
        return count


@pytest.mark.parametrize("scheme", SCHEMES)
def test_auto_finds_out_logs_it_once_and_tries_that_alone_from_then_on(
    scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    verifier = Verifier([OLD], "auto")
    deliveries = [signed(scheme, age_s=age_s) for age_s in range(3)]
    digests = Digests(monkeypatch)
    with capture_logs() as lines:
        for delivery in deliveries:
            verifier.verify(delivery)
    assert lines == [_pinned(OLD, scheme)]
    assert digests.asked() == 1 + list(SCHEMES).index(scheme) + 2


def test_auto_tries_all_again_when_the_pinned_scheme_does_not_fit() -> None:
    verifier = Verifier([OLD], "auto")
    turns = ["body", "timestamp.body", "body", "timestamp.body", "body+timestamp"]
    with capture_logs() as lines:
        for scheme in turns:
            assert verifier.verify(signed(scheme)).key_id == OLD.key_id
    assert lines == [_pinned(OLD, scheme) for scheme in ("body", "timestamp.body", "body+timestamp")]


def test_auto_pins_for_each_key_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    verifier = Verifier([OLD, NEW], "auto")
    pair = [signed("body"), signed("timestamp+body", key=NEW)]
    with capture_logs() as lines:
        for delivery in pair:
            verifier.verify(delivery)
    assert lines == [_pinned(OLD, "body"), _pinned(NEW, "timestamp+body")]
    digests = Digests(monkeypatch)
    for delivery, key in zip(pair, (OLD, NEW), strict=True):
        assert verifier.verify(delivery).key_id == key.key_id
    assert digests.asked() <= 4
    verifier.replace([NEW])
    assert refusal(verifier, pair[0]) == "signature-mismatch"


def test_auto_refuses_what_no_scheme_fits_and_pins_nothing() -> None:
    verifier = Verifier([OLD], "auto")
    with capture_logs() as lines:
        assert refusal(verifier, signed("timestamp.body", key=NEW)) == "signature-mismatch"
        assert refusal(verifier, signed("body")._replace(signature=b"00")) == "signature-malformed"
        assert refusal(verifier, signed("body")._replace(signature=None)) == "signature-missing"
    assert lines == []


def test_the_plain_scheme_costs_one_digest_per_key_and_looks_at_no_header(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    verifier = Verifier([OLD, NEW])
    delivery = signed("body")._replace(headers=_Untouchable())
    digests = Digests(monkeypatch)
    verifier.verify(delivery)
    assert digests.asked() == 2
    assert verifier.headers == frozenset()
    assert Verifier([OLD], "auto").headers == {b"x-timestamp"}


class _Untouchable(tuple[tuple[bytes, bytes], ...]):
    def __iter__(self) -> Any:
        raise AssertionError("the headers were read")


def _pinned(key: SigningKey, scheme: str) -> Mapping[str, Any]:
    return {
        "event": "signature.scheme_pinned",
        "key_id": key.key_id,
        "scheme": scheme,
        "log_level": "info",
    }
