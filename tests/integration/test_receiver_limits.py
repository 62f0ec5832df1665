"""Limits before a body, on a real port: what goes over one is refused with a reason, what is only odd is served."""

from __future__ import annotations

import contextlib
import json
import resource
import socket
import time
import uuid
from collections.abc import Iterator

import pytest

from ampeco.signature import SigningKey, sign
from eventlog.connection.embedded import EmbeddedServer
from tests.door import PATH, TOKEN, Door, door, read_reply, signed_head
from tests.harness import soon

HEAD_BYTES = 4096
HEADERS = 30


@pytest.fixture(scope="module")
def front(valkey: EmbeddedServer) -> Iterator[Door]:
    settings = {
        "AWR_MAX_HEAD_BYTES": str(HEAD_BYTES),
        "AWR_MAX_HEADERS": str(HEADERS),
        "AWR_HEAD_TIMEOUT_S": "2",
        "AWR_MAX_CONNECTIONS": "20",
    }
    with door(valkey.url, f"t{uuid.uuid4().hex[:10]}:", settings) as opened:
        yield opened


def body() -> bytes:
    return json.dumps({"notification": "BootNotification", "at": time.time_ns()}).encode()


def head(**headers: str) -> bytes:
    """A head for the admin port; it asks whether the process lives."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"GET /health/live HTTP/1.1\r\nhost: x\r\n{lines}\r\n".encode()


def padded(size: int) -> bytes:
    return head(x="a" * (size - len(head(x=""))))


def send(connection: socket.socket, sent: bytes, piece: int) -> None:
    for at in range(0, len(sent), piece):
        connection.sendall(sent[at : at + piece])


def status_of(front: Door, sent: bytes, piece: int) -> int:
    with front.connect() as connection:
        send(connection, sent, piece)
        return read_reply(connection).status


@pytest.mark.parametrize("size", [HEAD_BYTES, HEAD_BYTES + 1])
@pytest.mark.parametrize("piece", [100_000, 700])
@pytest.mark.parametrize("admin", [False, True])
def test_a_head_is_as_large_as_it_may_be_and_no_larger(
    front: Door, size: int, piece: int, admin: bool
) -> None:
    port = front.admin_port if admin else front.port
    with front.connect(port) as connection:
        send(connection, padded(size), piece)
        answer = read_reply(connection, wait_for_close=size > HEAD_BYTES)
    assert (answer.status, answer.closed) == ((200, False) if size == HEAD_BYTES else (431, True))
    assert answer.body == (b"ok" if size == HEAD_BYTES else b"")


@pytest.mark.parametrize("extra", [0, 1])
@pytest.mark.parametrize("piece", [100_000, 60])
def test_a_webhook_may_have_so_many_headers_and_no_more(front: Door, extra: int, piece: int) -> None:
    sent = body()
    more = {
        f"x-{number}": "1" for number in range(HEADERS - 4 + extra)
    }  # host, type, signature and length are 4
    with front.connect() as connection:
        send(connection, signed_head(sent, **more) + sent, piece)
        answer = read_reply(connection, wait_for_close=bool(extra))
    assert (answer.status, answer.closed) == ((431, True) if extra else (202, False))


REFUSED = {
    "an endless URL": (b"GET /" + b"x" * 100_000, 431, "head-too-large"),
    "many headers": (b"GET / HTTP/1.1\r\n" + b"a:\r\n" * 100, 431, "head-too-large"),
    "a header without end": (b"GET / HTTP/1.1\r\na: " + b"a" * 10_000, 431, "head-too-large"),
    "a name without end": (b"GET / HTTP/1.1\r\n" + b"a" * 10_000, 431, "head-too-large"),
    "empty lines without end": (b"\r\n" * 10_000, 431, "head-too-large"),
    "many trailers": (
        b"POST %b HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1\r\n{\r\n0\r\n" % PATH.encode()
        + b"a:\r\n" * 100,
        400,
        "trailers-too-large",
    ),
    "a trailer without end": (
        b"POST %b HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n0\r\na:" % PATH.encode() + b"a" * 10_000,
        400,
        "trailers-too-large",
    ),
    "an extension of a chunk without end": (
        b"POST %b HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1;a=" % PATH.encode() + b"a" * 10_000,
        400,
        "trailers-too-large",
    ),
    "no HTTP": (b"nonsense\r\n\r\n", 400, "request-malformed"),
    "CONNECT": (b"CONNECT a:1 HTTP/1.1\r\nhost: a\r\n\r\n", 400, "request-malformed"),
    "a chunk that is none": (
        b"POST %b HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nz\r\n" % PATH.encode(),
        400,
        "request-malformed",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_has_its_reason_in_the_log_and_the_metrics(front: Door, name: str) -> None:
    sent, status, reason = REFUSED[name]
    refused = f'awr_events_refused_total{{reason="{reason}"}}'
    closed = f'awr_connections_closed_total{{port="public",reason="{reason}"}}'
    before = front.metric(refused), front.metric(closed)
    with front.connect() as connection:
        with contextlib.suppress(ConnectionError):
            connection.sendall(sent)
        answer = read_reply(connection, wait_for_close=True)
    assert (answer.status, answer.body, answer.headers["connection"], answer.closed) == (
        status,
        b"",
        "close",
        True,
    )
    assert (front.metric(refused), front.metric(closed)) == (before[0] + 1, before[1] + 1)
    soon(lambda: any(reason in line["reasons"] for line in front.said("connections.closed")))
    front.line("event.rejected", reason=reason)


def test_the_admin_port_refuses_alike_and_counts_it_apart(front: Door) -> None:
    closed = 'awr_connections_closed_total{port="admin",reason="head-too-large"}'
    before = front.metric(closed)
    answer = front.exchange(b"GET /" + b"x" * (HEAD_BYTES + 1), port=front.admin_port)
    assert answer.status == 431
    assert front.metric(closed) == before + 1


@pytest.mark.parametrize("admin", [False, True])
def test_a_connection_without_a_request_is_closed(front: Door, admin: bool) -> None:
    with front.connect(front.admin_port if admin else front.port) as connection:
        assert connection.recv(100) == b""


@pytest.mark.parametrize("before", [b"", head()])
def test_a_head_that_drips_is_refused_although_bytes_still_come(front: Door, before: bytes) -> None:
    """On a new connection, and after a request."""
    with front.connect() as connection:
        if before:
            connection.sendall(before)
            assert read_reply(connection).status == 200
        connection.sendall(b"POST / HTTP/1.1\r\nx: ")
        connection.settimeout(0.1)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            with contextlib.suppress(TimeoutError):
                answer = connection.recv(1000)
                break
            connection.sendall(b"a")
        assert answer.startswith(b"HTTP/1.1 408 ")


def test_the_rest_of_a_body_that_is_not_wanted_does_not_drip_for_ever(front: Door) -> None:
    with front.connect() as connection:
        connection.sendall(b"POST /elsewhere HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n")
        assert read_reply(connection).status == 404
        connection.settimeout(0.1)
        deadline = time.monotonic() + 20
        closed = False
        while time.monotonic() < deadline and not closed:
            with contextlib.suppress(TimeoutError):
                try:
                    connection.sendall(b"a")
                    closed = connection.recv(100) == b""
                except ConnectionError:
                    closed = True
        assert closed


def test_a_full_port_closes_who_was_silent_longest(valkey: EmbeddedServer, prefix: str) -> None:
    with contextlib.ExitStack() as stack:
        # Silence alone closes none of these connections within the test.
        front = stack.enter_context(
            door(valkey.url, prefix, {"AWR_MAX_CONNECTIONS": "20", "AWR_HEAD_TIMEOUT_S": "120"})
        )

        def connected(count: int) -> list[socket.socket]:
            """Connect, and wait until the receiver has taken all. What it takes at once is of the same age."""
            made = [stack.enter_context(front.connect()) for _ in range(count)]
            before.extend(made)
            soon(lambda: front.metric('awr_connections_open{port="public"}') == len(before))
            return made

        before: list[socket.socket] = []
        (used,) = connected(1)
        (silent,) = connected(1)
        connected(18)
        used.sendall(head())
        assert read_reply(used).status == 200
        stack.enter_context(front.connect())
        assert silent.recv(1) == b""
        used.sendall(head())
        assert read_reply(used).status == 200
        closed = 'awr_connections_closed_total{port="public",reason="too-many-connections"}'
        assert front.metric(closed) == 1


def test_sixteen_requests_wait_and_the_next_one_is_refused_after_their_answers(front: Door) -> None:
    with front.connect() as connection:
        connection.sendall(head() * 20)
        received = b""
        while part := connection.recv(65_536):
            received += part
    statuses = [part[:3] for part in received.split(b"HTTP/1.1 ")[1:]]
    assert statuses == [b"200"] * 16 + [b"429"]
    assert b"retry-after: 5" in received


def test_the_limit_of_open_files_is_raised(front: Door) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert resource.prlimit(front.process.pid, resource.RLIMIT_NOFILE) == (hard, hard)


# Odd, but right


@pytest.mark.parametrize("upgrade", ["h2c", "websocket", "TLS/1.0"])
@pytest.mark.parametrize("piece", [100_000, 40])
def test_an_upgrade_is_served_as_if_it_were_absent(front: Door, upgrade: str, piece: int) -> None:
    sent = body()
    whole = signed_head(sent, connection="Upgrade, keep-alive", upgrade=upgrade) + sent
    with front.connect() as connection:
        for request in (whole, whole):  # the second is a duplicate, on the same connection
            send(connection, request, piece)
            assert read_reply(connection).status == 202


def test_an_upgrade_with_a_chunked_body_keeps_its_body(front: Door) -> None:
    sent = body()
    chunks = b"%x\r\n%b\r\n0\r\n\r\n" % (len(sent), sent)
    asked = signed_head(
        sent, connection="upgrade", upgrade="h2c", content_length=None, transfer_encoding="chunked"
    )
    assert front.exchange(asked + chunks).status == 202


@pytest.mark.parametrize("piece", [100_000, 40])
@pytest.mark.parametrize("path", [PATH, "/health/live"])
def test_a_sender_that_half_closes_is_answered(front: Door, piece: int, path: str) -> None:
    sent = body()
    whole = signed_head(sent) + sent if path == PATH else head()
    with front.connect() as connection:
        send(connection, whole, piece)
        connection.shutdown(socket.SHUT_WR)
        answer = read_reply(connection, wait_for_close=True)
    assert (answer.status, answer.closed) == (202 if path == PATH else 200, True)


def test_a_half_closed_connection_with_half_a_request_is_closed(front: Door) -> None:
    sent = body()
    with front.connect() as connection:
        connection.sendall((signed_head(sent) + sent)[:-1])
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(100) == b""


def chunked_with(sent: bytes, trailers: str, **headers: str | None) -> bytes:
    asked = signed_head(sent, content_length=None, transfer_encoding="chunked", **headers)
    return asked + b"%x\r\n%b\r\n0\r\n%b\r\n" % (len(sent), sent, trailers.encode())


def test_trailers_never_replace_headers(front: Door) -> None:
    sent = body()
    right = sign(sent, SigningKey.of(TOKEN))
    assert front.exchange(chunked_with(sent, f"X-Signature: {right}\r\n", x_signature=None)).status == 401
    assert front.exchange(chunked_with(sent, f"X-Signature: {right}\r\n", x_signature="00")).status == 401
    assert front.exchange(chunked_with(sent, "X-Signature: 00\r\nContent-Type: text/plain\r\n")).status == 202


def twice(sent: bytes, line: str) -> bytes:
    first, rest = signed_head(sent).split(b"\r\n", 1)
    return first + b"\r\n" + line.encode() + rest + sent


@pytest.mark.parametrize("piece", [100_000, 40])
def test_two_signatures_are_none(front: Door, piece: int) -> None:
    sent = body()
    right = sign(sent, SigningKey.of(TOKEN))
    reason = 'awr_events_refused_total{reason="signature-malformed"}'
    for other in (right, "00"):
        before = front.metric(reason)
        assert status_of(front, twice(sent, f"x-signature: {other}\r\n"), piece) == 401
        assert front.metric(reason) == before + 1


@pytest.mark.parametrize("piece", [100_000, 40])
def test_two_content_types_must_be_equal(front: Door, piece: int) -> None:
    sent = body()
    equal, other = "content-type: application/json\r\n", "content-type: application/problem+json\r\n"
    assert status_of(front, twice(sent, equal), piece) == 202
    assert status_of(front, twice(sent, other), piece) == 415
