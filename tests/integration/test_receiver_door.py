"""The endpoint on a real port with a real log: what known and unknown senders get."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest

from ampeco.signature import ENCODINGS, SigningKey, sign
from eventlog.connection.embedded import EmbeddedServer
from eventlog.inspection.events import LogCounts, list_events, read_counts
from eventlog.record import StoredEvent
from handlers.internal import PAYLOADS
from tests.door import PATH, TOKEN, Door, door, read_reply
from tests.harness import opened, soon

LIMIT = 4096
OTHER = "another-key-nobody-may-see"


class Site:
    """A receiver and the log behind it."""

    def __init__(self, url: str, prefix: str, front: Door) -> None:
        self.url, self.prefix, self.door = url, prefix, front

    def newest(self, **filters: str) -> StoredEvent:
        async def read() -> StoredEvent:
            async with opened(self.url, self.prefix) as log:
                return (await list_events(log, limit=1, **filters))[0]  # type: ignore[arg-type]

        return asyncio.run(read())

    def counts(self) -> LogCounts:
        async def read() -> LogCounts:
            async with opened(self.url, self.prefix) as log:
                return await read_counts(log)

        return asyncio.run(read())


@pytest.fixture(scope="module")
def site(valkey: EmbeddedServer) -> Iterator[Site]:
    prefix = f"t{uuid.uuid4().hex[:10]}:"
    settings = {
        "AWR_SIGNING_KEYS": f"{TOKEN},{OTHER}",
        "AWR_MAX_BODY_BYTES": str(LIMIT),
        "AWR_API_TOKEN": "token-for-calling-only",
    }
    with door(valkey.url, prefix, settings) as front:
        yield Site(valkey.url, prefix, front)


def body(type: str = "SessionUpdateNotification", **fields: object) -> bytes:
    document = {"notification": type, "session": {"id": uuid.uuid4().hex[:8]}, "at": time.time_ns(), **fields}
    return json.dumps(document).encode()


def test_a_signed_notification_is_in_the_log_when_the_answer_arrives(site: Site) -> None:
    sent = body(session={"id": 4711}, lastUpdatedAt="2026-11-24T10:00:00Z")
    answer = site.door.post(sent)
    assert (answer.status, answer.body) == (202, b"")
    stored = site.newest(key="session:4711")
    assert (stored.body, stored.type, stored.marks) == (sent, "SessionUpdateNotification", ())
    assert stored.key_id == SigningKey.of(TOKEN).key_id
    assert abs(stored.received_at_ms / 1000 - time.time()) < 60


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("prefix", ["", "sha256="])
def test_every_spelling_of_a_signature_is_read(site: Site, encoding: str, prefix: str) -> None:
    sent = body()
    signature = sign(sent, SigningKey.of(TOKEN), encoding=encoding, prefix=prefix)  # type: ignore[arg-type]
    assert site.door.post(sent, x_signature=signature).status == 202


def test_every_accepted_key_is_tried_and_the_one_that_matched_is_recorded(site: Site) -> None:
    sent = body("x.changed", session={"id": "by-other"})
    assert site.door.post(sent, key=OTHER).status == 202
    assert site.newest(key="session:by-other").key_id == SigningKey.of(OTHER).key_id


def test_a_body_changed_after_signing_is_refused(site: Site) -> None:
    sent = body()
    signature = sign(sent, SigningKey.of(TOKEN))
    before = site.counts()
    for wrong in (
        None,
        "",
        "nonsense",
        signature[:-2],
        signature[:-1] + "g",
        sign(sent + b" ", SigningKey.of(TOKEN)),
    ):
        answer = site.door.post(sent, x_signature=wrong)
        assert (answer.status, answer.body) == (401, b"")
    assert site.door.post(sent, key="token-for-calling-only").status == 401
    assert site.counts() == before


def test_a_repeated_body_is_accepted_and_kept_once_when_it_carries_a_time(site: Site) -> None:
    sent = body(lastUpdatedAt="2026-11-24T10:00:00Z")
    before = site.counts()
    assert [site.door.post(sent).status for _ in range(3)] == [202, 202, 202]
    after = site.counts()
    assert (after.accepted - before.accepted, after.duplicates - before.duplicates) == (1, 2)


def test_a_state_there_and_back_within_a_second_is_three_events(site: Site) -> None:
    """The vendor's clock has seconds: the first and the third notification have equal bodies."""
    evse = uuid.uuid4().hex

    def status(name: str) -> bytes:
        changed = {"id": evse, "hardwareStatus": name, "lastUpdatedAt": "2026-11-28T10:00:00Z"}
        return json.dumps({"notification": "chargePoint.changed", "chargePoint": changed}).encode()

    before = site.counts()
    for name in ("available", "faulted", "available"):
        assert site.door.post(status(name)).status == 202
    newest = site.newest(key=f"charge-point:{evse}")
    assert newest.body == status("available")
    assert newest.marks == ("maybe_repeat", "not-last")
    assert site.door.post(status("available")).status == 202
    after = site.counts()
    assert (after.accepted - before.accepted, after.duplicates - before.duplicates) == (3, 1)
    soon(lambda: site.door.metric('awr_events_duplicate_by_reason_total{reason="equal-body"}') >= 1)


def test_a_repeated_body_without_a_time_is_kept_and_marked(site: Site) -> None:
    sent = json.dumps(
        {"notification": "HardwareStatusNotification", "chargePointId": uuid.uuid4().hex}
    ).encode()
    key = f"charge-point:{json.loads(sent)['chargePointId']}"
    before = site.counts()
    assert site.door.post(sent).status == 202
    assert "maybe_repeat" not in site.newest(key=key).marks
    assert site.door.post(sent).status == 202
    assert "maybe_repeat" in site.newest(key=key).marks
    assert site.counts().accepted - before.accepted == 2


@pytest.mark.parametrize(
    "sent", [b"[1]", b"nonsense", b"", b'"text"', b'{"a":"\\ud800"}', b"\xff\xfe", b"[" * 4000]
)
def test_verified_bytes_that_are_no_object_are_accepted_into_the_quarantine(site: Site, sent: bytes) -> None:
    before = site.counts()
    assert site.door.post(sent).status == 202
    after = site.counts()
    assert (after.quarantined - before.quarantined, after.accepted - before.accepted) == (1, 0)


def test_an_unknown_type_and_a_payload_that_does_not_fit_are_accepted(site: Site) -> None:
    assert site.door.post(body("something.neverSeen", session={"id": "u1"})).status == 202
    assert site.newest(type="something.neverSeen").key == "session:u1"
    assert site.door.post(body("SessionUpdateNotification", session=[], sessionId="m1")).status == 202
    assert site.newest(key="session:m1").marks == ()


@pytest.mark.parametrize("name", [*PAYLOADS, "receiver.", "receiver.timer:h", "receiver.new"])
def test_no_sender_can_make_an_internal_event(site: Site, name: str) -> None:
    before = site.counts()
    assert site.door.post(body(name)).status == 202
    after = site.counts()
    assert (after.quarantined - before.quarantined, after.accepted - before.accepted) == (1, 0)
    assert after.internal == before.internal


def test_other_methods_types_and_paths(site: Site) -> None:
    answer = site.door.get(PATH)
    assert (answer.status, answer.headers["allow"]) == (405, "POST")
    assert site.door.post(body(), content_type="text/plain").status == 415
    assert site.door.post(body(), content_type=None).status == 202
    assert site.door.post(body(), content_type="application/vnd.x+json; charset=utf-8").status == 202
    for path in (f"{PATH}/", "/", "/metrics", "/docs"):
        assert site.door.get(path).status == 404


def test_health_says_little_to_strangers_and_everything_to_operators(site: Site) -> None:
    assert site.door.get("/health/live").body == b"ok"
    assert site.door.get("/health/ready").body == b"ok"
    report = site.door.ready()
    assert (report["ready"], report["reasons"], report["registration"]) == (True, [], "off")
    assert report["accepted_key_ids"] == [SigningKey.of(TOKEN).key_id, SigningKey.of(OTHER).key_id]


def test_an_announced_size_over_the_limit_is_refused_before_a_byte_of_the_body(site: Site) -> None:
    with site.door.connect() as connection:
        connection.sendall(f"POST {PATH} HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999\r\n\r\n".encode())
        answer = read_reply(connection, wait_for_close=True)
    assert (answer.status, answer.headers["connection"], answer.closed) == (413, "close", True)


def test_a_sender_that_asks_first_is_told_no_at_once(site: Site) -> None:
    head = f"POST {PATH} HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: {LIMIT + 1}\r\n\r\n"
    with site.door.connect() as connection:
        connection.sendall(head.encode())
        assert read_reply(connection).status == 413


def test_a_chunked_body_is_cut_off_at_the_limit_and_the_connection_closed(site: Site) -> None:
    """The sender never ends its body: the answer comes as soon as the limit is passed."""
    with site.door.connect() as connection:
        connection.sendall(f"POST {PATH} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n".encode())
        for _ in range(LIMIT // 1000 + 1):
            connection.sendall(b"3e8\r\n" + b"x" * 1000 + b"\r\n")
        answer = read_reply(connection, wait_for_close=True)
    assert (answer.status, answer.closed) == (413, True)


def test_a_sender_that_never_stops_is_not_read_for_ever(site: Site) -> None:
    def send_on_and_on(connection: socket.socket) -> None:
        for _ in range(3200):  # 200 MiB, far more than any buffer on the way holds
            connection.sendall(b"10000\r\n" + b"x" * 65536 + b"\r\n")

    with site.door.connect() as connection:
        connection.sendall(f"POST {PATH} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n".encode())
        with pytest.raises(ConnectionError):
            send_on_and_on(connection)


def test_a_sender_of_a_body_too_large_reads_the_answer_even_if_it_sends_everything_first(site: Site) -> None:
    answer = site.door.post(b"x" * (LIMIT + 300_000))
    assert answer.status == 413


def test_a_chunked_body_within_the_limit_is_verified_over_all_of_it(site: Site) -> None:
    sent = body(pad="x" * 2000)
    pieces = b"".join(b"%x\r\n%b\r\n" % (b - a, sent[a:b]) for a, b in pairwise(range(0, len(sent) + 1, 1)))
    head = (
        f"POST {PATH} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n"
        f"x-signature: {sign(sent, SigningKey.of(TOKEN))}\r\n\r\n"
    )
    assert site.door.exchange(head.encode() + pieces + b"0\r\n\r\n").status == 202
    assert site.newest().body == sent


def test_a_sender_that_hangs_up_half_way_harms_nobody(site: Site) -> None:
    for _ in range(20):
        with site.door.connect() as connection:
            connection.sendall(
                f"POST {PATH} HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\nhalf".encode()
            )
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    assert site.door.post(body()).status == 202


def test_a_connection_outlives_a_refused_signature(site: Site) -> None:
    sent = body()
    request = f"POST {PATH} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(sent)}\r\n"
    with site.door.connect() as connection:
        connection.sendall(f"{request}x-signature: 00\r\n\r\n".encode() + sent)
        assert read_reply(connection).status == 401
        connection.sendall(
            f"{request}x-signature: {sign(sent, SigningKey.of(TOKEN))}\r\n\r\n".encode() + sent
        )
        assert read_reply(connection).status == 202


def test_requests_that_come_together_share_an_append(site: Site) -> None:
    events = 400
    before = site.counts(), site.door.metric("awr_append_batch_events_count")
    sent = [body(n=n) for n in range(events)]
    with ThreadPoolExecutor(32) as senders:
        statuses = list(senders.map(lambda one: site.door.post(one).status, sent))
    assert statuses == [202] * events
    assert site.counts().accepted - before[0].accepted == events
    assert site.door.metric("awr_append_batch_events_count") - before[1] < events


def test_the_log_tells_counts_and_reasons_and_no_secret_and_no_payload(site: Site) -> None:
    site.door.post(body(name="personal-data"))
    site.door.post(body(name="personal-data"), x_signature="feedface" * 8)
    site.door.line("event.accepted")
    site.door.line("event.rejected", reason="signature-mismatch")
    text = json.dumps(site.door.lines)
    for hidden in (TOKEN, OTHER, "token-for-calling-only", "personal-data", "feedface", site.url):
        assert hidden not in text
    assert {line["reason"] for line in site.door.said("event.rejected")} >= {
        "signature-mismatch",
        "body-too-large",
    }
    assert not re.search(r"Traceback|\"level\": \"error\"", text)
