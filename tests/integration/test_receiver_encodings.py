"""Encoded bodies from the socket to the handler: read by their encoding, kept and handed out as they were signed."""

from __future__ import annotations

import asyncio
import gzip
import json
import uuid
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from ampeco.notifications import SessionUpdate
from benchmarks.door import chunked
from eventlog.connection.embedded import EmbeddedServer
from eventlog.inspection.events import list_events
from eventlog.log import EventLog, Unreadable
from eventlog.operation.dead_letters import DeadFilter, matching, retry
from eventlog.operation.quarantine import QuarantineFilter, newest
from eventlog.record import StoredEvent
from handlers import Context, Event, Raw, handler
from receiver.elements import ElementReader
from tests.door import Door, door, signed_head
from tests.harness import declaration, drained, opened
from tests.unit.receiver.test_elements import Delivery

LIMIT = 4096
ENCODINGS = ("utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "gzip", "gzip+utf-16")


def encoded(document: dict[str, Any], encoding: str) -> bytes:
    text = json.dumps(document, ensure_ascii=False)
    characters = encoding.removeprefix("gzip").removeprefix("+") or "utf-8"
    body = text.encode(characters)
    return gzip.compress(body) if encoding.startswith("gzip") else body


def session(number: int = 4711) -> dict[str, Any]:
    return {
        "notification": "SessionUpdateNotification",
        "session": {"id": number, "status": "active", "totalAmount": 12.10, "userId": "é漢"},
        "lastUpdatedAt": "2026-11-24T10:00:00Z",
    }


@pytest.fixture(scope="module")
def site(valkey: EmbeddedServer) -> Iterator[tuple[str, str, Door]]:
    prefix = f"t{uuid.uuid4().hex[:10]}:"
    with door(valkey.url, prefix, {"AWR_MAX_BODY_BYTES": str(LIMIT)}) as front:
        yield valkey.url, prefix, front


@pytest.mark.parametrize("path", ["fast", "slow"])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_an_encoded_body_is_accepted_read_and_kept_as_it_was_signed(
    site: tuple[str, str, Door], encoding: str, path: str
) -> None:
    url, prefix, front = site
    number = uuid.uuid4().int % 10**9
    sent = encoded(session(number), encoding)
    headers = {"content_encoding": "gzip"} if encoding.startswith("gzip") else {}
    request = signed_head(sent, **headers) + sent
    assert front.exchange(request if path == "fast" else chunked(request)).status == 202

    async def check() -> None:
        async with opened(url, prefix) as log:
            (stored,) = await list_events(log, key=f"session:{number}")
            assert (stored.body, stored.type) == (sent, "SessionUpdateNotification")
            assert (stored.encoding, stored.marks) == (encoding, (f"encoding={encoding}",))
            assert stored.occurred_at is not None

    asyncio.run(check())
    plain = json.dumps(session(number), ensure_ascii=False).encode()
    before = front.metric("awr_events_duplicate_total")
    assert front.post(plain).status == 202
    assert front.metric("awr_events_duplicate_total") == before + 1, "it is the same notification"


@pytest.mark.parametrize("path", ["fast", "slow"])
@pytest.mark.parametrize(
    ("sent", "said", "reason"),
    [
        (gzip.compress(b" " * (LIMIT + 1), mtime=0), "gzip", "unpacked-too-large"),
        (gzip.compress(b"{}", mtime=0)[:-1], "gzip", "gzip-damaged"),
        (b"\x0b\x02\x80{}\x03", "br", "encoding-unknown"),
        (gzip.compress(b'{"notification": "receiver.quarantine.added"}', mtime=0), "gzip", "reserved-type"),
    ],
)
def test_what_cannot_be_unpacked_is_quarantined_with_its_encoding(
    site: tuple[str, str, Door], sent: bytes, said: str, reason: str, path: str
) -> None:
    url, prefix, front = site
    request = signed_head(sent, content_encoding=said) + sent
    assert front.exchange(request if path == "fast" else chunked(request)).status == 202

    async def check() -> None:
        async with opened(url, prefix) as log:
            (found,) = await newest(log, QuarantineFilter(), limit=1)
            assert (found.reason, found.encoding, found.size) == (reason, said, len(sent))

    asyncio.run(check())


def test_the_signature_covers_the_packed_bytes(site: tuple[str, str, Door]) -> None:
    _, _, front = site
    sent = encoded(session(), "gzip")
    head = signed_head(gzip.decompress(sent)).replace(
        f"content-length: {len(gzip.decompress(sent))}".encode(), f"content-length: {len(sent)}".encode()
    )
    assert front.exchange(head + sent).status == 401


async def append(log: EventLog, body: bytes) -> StoredEvent:
    """Append a body as the receiver does."""
    element = ElementReader().read(Delivery(body))
    assert not isinstance(element, Unreadable)
    (answer,) = (await log.append([element])).answers
    assert answer.outcome == "accepted"
    (event,) = await list_events(log, limit=1)
    return event


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_handler_gets_the_payload_and_the_signed_bytes(valkey, prefix, encoding: str) -> None:
    seen: list[Event[Any]] = []

    @handler("typed")
    async def typed(event: Event[SessionUpdate], ctx: Context) -> None:
        assert event.payload.session.user_id == "é漢"
        assert event.payload.exact("session.total_amount") == Decimal("12.1")
        assert event.payload.raw_value("session.id") == 4711
        seen.append(event)

    @handler("plain", on=["*"])
    async def plain(event: Event[Raw], ctx: Context) -> None:
        assert event.payload.data["session"]["id"] == 4711
        seen.append(event)

    async def check() -> None:
        async with opened(valkey.url, prefix) as log:
            await log.declare([declaration(typed), declaration(plain)])
            sent = encoded(session(), encoding)
            await append(log, sent)
            await drained(log, typed, plain)
            assert len(seen) == 2
            assert {(event.raw, event.encoding) for event in seen} == {(sent, encoding)}
            assert not await matching(log, DeadFilter())

    asyncio.run(check())


def test_an_old_worker_gives_it_up_and_a_new_one_handles_it_after_a_retry(
    valkey, prefix, monkeypatch
) -> None:
    """A worker of the version before keeps the mark, but does not look at it."""
    seen: list[bytes] = []

    @handler("h")
    async def h(event: Event[SessionUpdate], ctx: Context) -> None:
        seen.append(event.raw)

    async def check() -> None:
        async with opened(valkey.url, prefix) as log:
            await log.declare([declaration(h)])
            sent = encoded(session(), "gzip")
            with monkeypatch.context() as patched:
                patched.setattr(StoredEvent, "encoding", "")
                await append(log, sent)
                await drained(log, h)
            (letter,) = await matching(log, DeadFilter())
            assert letter.letter.reason == "payload-mismatch"
            assert not seen, "no handler got bytes that it would misread"
            assert letter.letter.record.event.encoding == "gzip"
            assert (await retry(log, [letter]))["put"] == 1
            await drained(log, h)
            assert seen == [sent]

    asyncio.run(check())
