"""What becomes of verified bytes that are no plain JSON: an event that keeps them as they are, or a reason."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
from typing import NamedTuple

import pytest

from ampeco.entity_keys import DEFAULT_RULES
from ampeco.signature import SigningKey, sign
from eventlog.log import Answer, NewEvent, Unreadable, digest_of
from eventlog.record import StoredEvent, read_marks
from receiver.elements import ElementReader, said_encoding
from receiver.large_bodies import LARGE_BYTES
from receiver.verification import RawDelivery, VerifiedDelivery, Verifier
from tests.unit.receiver.test_intake import intake

KEY = SigningKey.of("token")
DOCUMENT = {
    "notification": "SessionUpdateNotification",
    "session": {"id": 7, "comment": "é 漢 😀"},
    "lastUpdatedAt": "2023-11-14T22:13:00Z",
}
TEXT = json.dumps(DOCUMENT, ensure_ascii=False)
ENCODED = {
    "utf-8-sig": TEXT.encode("utf-8-sig"),
    "utf-16": TEXT.encode("utf-16"),
    "utf-16-le": TEXT.encode("utf-16-le"),
    "utf-16-be": TEXT.encode("utf-16-be"),
    "gzip": gzip.compress(TEXT.encode(), mtime=0),
    "gzip+utf-8-sig": gzip.compress(TEXT.encode("utf-8-sig"), mtime=0),
    "gzip+utf-16": gzip.compress(TEXT.encode("utf-16"), mtime=0),
}
INTERNAL = ("receiver.gap.closed", "receiver.quarantine.added", "receiver.shape.drifted", "receiver.started")


class Delivery(NamedTuple):
    """Bytes as if they were verified."""

    body: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()
    stale: bool = False
    received_at_ms: int = 1_700_000_000_000
    key_id: str = "12345678"


def read(
    body: bytes, *, most_bytes: int = 1 << 20, said: bytes = b"", stale: bool = False
) -> NewEvent | Unreadable:
    headers = ((b"content-encoding", said),) if said else ()
    return ElementReader(DEFAULT_RULES, most_bytes=most_bytes).read(Delivery(body, headers, stale))


@pytest.mark.parametrize("encoding", ENCODED)
@pytest.mark.parametrize("said", [b"", b"gzip", b"br"])
def test_an_encoded_body_is_an_event_like_the_plain_one_and_keeps_its_bytes(
    encoding: str, said: bytes
) -> None:
    """Whatever a header says, which no signature covers."""
    event, usual = read(ENCODED[encoding], said=said), read(TEXT.encode(), said=said)
    assert isinstance(event, NewEvent)
    assert isinstance(usual, NewEvent)
    assert event.body == ENCODED[encoding]
    assert (event.type, event.key, event.duplicates) == ("SessionUpdateNotification", "session:7", "drop")
    assert event.mark == f"encoding={encoding},{usual.mark}"
    assert event.digest == digest_of(TEXT.encode()), "the same notification, however it is encoded"
    assert (usual.mark, usual.digest) == ("at=1699999980000000", b"")


@pytest.mark.parametrize("encoding", ENCODED)
def test_the_record_says_how_to_read_it(encoding: str) -> None:
    event = read(ENCODED[encoding], stale=True)
    assert isinstance(event, NewEvent)
    marks, at_us = read_marks(event.mark.split(","))
    assert marks == ("stale", f"encoding={encoding}")
    stored = StoredEvent(0, "1-0", event.type, event.key, event.body, 0, "", marks, "", at_us)
    assert stored.encoding == encoding
    assert stored._replace(marks=("stale",)).encoding == stored._replace(marks=()).encoding == ""


@pytest.mark.parametrize("name", INTERNAL)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "gzip"])
def test_no_encoding_hides_a_type_of_our_own(name: str, encoding: str) -> None:
    text = json.dumps({"notification": name})
    body = gzip.compress(text.encode()) if encoding == "gzip" else text.encode(encoding)
    element = read(body)
    assert isinstance(element, Unreadable)
    assert (element.reason, element.body) == ("reserved-type", body)


@pytest.mark.parametrize(
    ("body", "said", "reason", "encoding"),
    [
        (b"nonsense", b"", "not-json", ""),
        (b"nonsense", b"identity", "not-json", "identity"),
        (b"nonsense", b"br", "encoding-unknown", "br"),
        (b"nonsense", b"deflate, GZIP", "encoding-unknown", "deflate, gzip"),
        (b"nonsense", b"x-gzip", "gzip-damaged", "x-gzip"),
        (b"nonsense", b"a\x1b[2J", "encoding-unknown", "other"),
        (b"nonsense", b"a" * 500, "encoding-unknown", "other"),
        (gzip.compress(b"nonsense", mtime=0), b"gzip", "not-json", "gzip"),
        (gzip.compress(b"[1]", mtime=0), b"", "not-an-object", ""),
        (gzip.compress(b"{}", mtime=0)[:-3], b"gzip", "gzip-damaged", "gzip"),
        (gzip.compress(b" " * 5000, mtime=0), b"gzip", "unpacked-too-large", "gzip"),
        ("[]".encode("utf-16"), b"", "not-an-object", ""),
        (b"\xff\xfe{", b"", "not-json", ""),
        (b'{"a": "\\ud800"}', b"br", "lone-surrogate", "br"),
    ],
)
def test_what_cannot_be_read_has_a_reason_and_what_the_header_said(
    body: bytes, said: bytes, reason: str, encoding: str
) -> None:
    element = read(body, said=said, most_bytes=4096, stale=True)
    assert element == Unreadable(body, reason, 1_700_000_000_000, "12345678", "stale", encoding)


def test_a_header_of_several_values_is_read_as_one_list() -> None:
    assert (
        said_encoding([(b"x", b"y"), (b"content-encoding", b"gzip"), (b"content-encoding", b"br")])
        == "gzip, br"
    )


def test_the_endpoint_hands_on_the_headers_that_the_quarantine_wants() -> None:
    verified = Verifier([KEY]).verify(
        RawDelivery(b"x", sign(b"x", KEY).encode(), 0, ((b"content-encoding", b"br"),))
    )
    element = ElementReader().read(verified)
    assert isinstance(element, Unreadable)
    assert element.encoding == "br"


def packed(size: int) -> VerifiedDelivery:
    body = gzip.compress(b'{"notification":"x","a":"%b"}' % os.urandom(12).hex().ljust(size).encode())
    return Verifier([KEY]).verify(RawDelivery(body, sign(body, KEY).encode(), 0))


def test_a_body_that_unpacks_to_a_large_one_takes_its_turn() -> None:
    async def check() -> None:
        taking, log = intake()
        answers: list[Answer] = []
        for size in (LARGE_BYTES, LARGE_BYTES, 10):  # the second one waits for the pause after the first one
            taking.accept(packed(size), answers.append)
        while len(answers) < 3:
            await asyncio.sleep(0.001)
        assert [len(gzip.decompress(element.body)) > LARGE_BYTES for element in log.elements] == [
            True,
            False,
            True,
        ]

    asyncio.run(check())


def test_what_waits_for_its_turn_counts_as_large_as_it_unpacks_to() -> None:
    async def check() -> None:
        taking, _ = intake()
        answers: list[Answer] = []
        for _ in range(20):  # 15 KiB of 1 MiB each wait in the end
            taking.accept(packed(1 << 20), answers.append)
        assert "too-much-at-once" in {answer.reason for answer in answers}

    asyncio.run(check())
