"""What a tenant answers is bounded, in size and in time, and ends with an error of ours in both clients."""

import asyncio
import contextlib
import gzip
import itertools
import socket
import threading
import time
import tracemalloc
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import httpx2
import pytest

from ampeco.answer_body import LIMIT_BYTES, AnswerBody
from ampeco.client import AsyncClient, Client, RetryPolicy
from ampeco.errors import ApiError, NoAnswer, ServerFault, Unauthorized
from tests.unit.ampeco.scripted import TOKEN

ONCE = RetryPolicy(attempts=1)
PAUSE_S = 0.02
Pieces = Iterable[bytes]
OK = b"HTTP/1.1 200 OK\r\n"


class Speaker:
    """Sends the same pieces to every connection, with a pause after each, until they or the peer end."""

    def __init__(self, pieces: Callable[[], Pieces], pause_s: float) -> None:
        self._pieces = pieces
        self._pause_s = pause_s
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self.sent = 0
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                peer, _ = self._socket.accept()
                self._threads.append(threading.Thread(target=self._speak, args=(peer,), daemon=True))
                self._threads[-1].start()

    def _speak(self, peer: socket.socket) -> None:
        with peer, contextlib.suppress(OSError):
            peer.recv(65_536)
            for piece in self._pieces():
                peer.sendall(piece)
                self.sent += len(piece)
                time.sleep(self._pause_s)

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


@contextlib.contextmanager
def speaking(pieces: Callable[[], Pieces], pause_s: float = 0.0) -> Iterator[Speaker]:
    speaker = Speaker(pieces, pause_s)
    try:
        yield speaker
    finally:
        speaker.close()


@pytest.fixture(params=["async", "sync"])
def ask(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Asks for the list of notification subscriptions through either client."""

    def with_async(url: str, **options: Any) -> Any:
        async def main() -> Any:
            async with AsyncClient(url, TOKEN, retry=ONCE, **options) as client:
                return await client.call("GET", "/public-api/resources/users/v1.0")

        return asyncio.run(main())

    def with_sync(url: str, **options: Any) -> Any:
        with Client(url, TOKEN, retry=ONCE, **options) as client:
            return client.call("GET", "/public-api/resources/users/v1.0")

    return with_async if request.param == "async" else with_sync


def answer(body: bytes, encoding: str = "", status: bytes = b"200 OK") -> Callable[[], Pieces]:
    head = b"HTTP/1.1 %b\r\nContent-Length: %d\r\nContent-Encoding: %b\r\n\r\n"
    return lambda: [head % (status, len(body), encoding.encode()), body]


def bomb(size: int) -> bytes:
    packer = zlib.compressobj(1, wbits=31)
    pieces = [packer.compress(bytes(1 << 20)) for _ in range(size >> 20)]
    return b"".join([*pieces, packer.flush()])


def byte_by_byte(text: bytes) -> Pieces:
    return (bytes((byte,)) for byte in text)


@pytest.mark.parametrize("encoding", ["", "identity", "gzip", "x-gzip", "deflate", "GZIP"])
def test_an_answer_is_read_in_each_encoding(ask: Callable[..., Any], encoding: str) -> None:
    body = b'{"data": [1]}'
    packed = {"": body, "identity": body, "deflate": zlib.compress(body)}.get(encoding, gzip.compress(body))
    with speaking(answer(packed, encoding)) as tenant:
        assert ask(tenant.url) == {"data": [1]}


def test_a_compressed_answer_is_not_unpacked_beyond_the_limit(ask: Callable[..., Any]) -> None:
    packed = bomb(192 << 20)
    with speaking(answer(packed, "gzip")) as tenant:
        tracemalloc.start()
        try:
            with pytest.raises(ServerFault, match="larger than 16 MiB"):
                ask(tenant.url)
            assert tracemalloc.get_traced_memory()[1] < 3 * LIMIT_BYTES
        finally:
            tracemalloc.stop()


@pytest.mark.parametrize(
    "head", [b"\r\n", b"Transfer-Encoding: chunked\r\n\r\n", b"Content-Length: 99999999999\r\n\r\n"]
)
def test_an_endless_answer_ends_at_the_limit(ask: Callable[..., Any], head: bytes) -> None:
    piece = b" " * 65_536
    chunk = b"10000\r\n%b\r\n" % piece if b"chunked" in head else piece
    with speaking(lambda: itertools.chain([OK + head], itertools.repeat(chunk))) as tenant:
        with pytest.raises(ServerFault, match="larger than 16 MiB"):
            ask(tenant.url)
        assert tenant.sent < 4 * LIMIT_BYTES  # what the sockets hold included


@pytest.mark.parametrize(
    ("packed", "encoding", "fault"),
    [
        (b"{}", "br", "unknown Content-Encoding"),
        (b"{}", "zstd", "unknown Content-Encoding"),
        (gzip.compress(gzip.compress(b"{}", mtime=0), mtime=0), "gzip, gzip", "unknown Content-Encoding"),
        (b"{}", "gzip", "damaged"),
        (gzip.compress(b'{"data": []}', mtime=0)[:-9], "gzip", "incomplete"),
    ],
    ids=["brotli", "zstd", "gzip twice", "damaged", "incomplete"],
)
def test_an_answer_that_cannot_be_unpacked_is_a_fault_of_the_server(
    ask: Callable[..., Any], packed: bytes, encoding: str, fault: str
) -> None:
    with speaking(answer(packed, encoding)) as tenant, pytest.raises(ServerFault, match=fault):
        ask(tenant.url)


def test_a_refusal_counts_by_its_status_whatever_its_body_is(ask: Callable[..., Any]) -> None:
    with speaking(answer(b"{}", "br", b"401 No")) as tenant, pytest.raises(Unauthorized):
        ask(tenant.url)


@pytest.mark.parametrize(
    "pieces",
    [
        lambda: itertools.chain([OK], itertools.repeat(b"a")),
        lambda: itertools.chain([OK + b"Content-Length: 9999\r\n\r\n"], itertools.repeat(b" ")),
        lambda: itertools.chain(
            [OK + b"Transfer-Encoding: chunked\r\n\r\n"], itertools.repeat(b"1\r\n \r\n")
        ),
        lambda: itertools.repeat(b"HTTP/1.1 100 Continue\r\n\r\n"),
        lambda: itertools.chain(
            [OK + b"Content-Encoding: gzip\r\n\r\n"],
            byte_by_byte(gzip.compress(b" " * 9, mtime=0)),
            itertools.repeat(b""),
        ),
    ],
    ids=["head", "body", "chunks", "interim answers", "compressed"],
)
def test_a_dripping_answer_ends_with_its_time(ask: Callable[..., Any], pieces: Callable[[], Pieces]) -> None:
    with speaking(pieces, PAUSE_S) as tenant, pytest.raises(NoAnswer, match=r"no whole answer within 0\.5 s"):
        ask(tenant.url, answer_s=0.5)


def test_a_connection_that_says_nothing_ends_with_the_whole_time_too(ask: Callable[..., Any]) -> None:
    with speaking(lambda: itertools.repeat(b""), PAUSE_S) as tenant, pytest.raises(NoAnswer):
        ask(tenant.url, answer_s=0.5)


def test_a_head_without_end_is_refused(ask: Callable[..., Any]) -> None:
    with speaking(lambda: itertools.chain([OK], itertools.repeat(b"a:\r\n" * 1000))) as tenant:
        with pytest.raises(NoAnswer):
            ask(tenant.url)
        assert tenant.sent < LIMIT_BYTES


@pytest.mark.parametrize(
    "location",
    [
        "https://user:PASSWORD@h:port/",
        "http://[::1",
        "https://a..b/",
        "//",
        "http://\xff\xfe/",
        "x" * 60_000,
        "https://h:0/",
        "http://" + "a" * 300,
    ],
)
def test_an_odd_redirect_ends_with_an_error_that_does_not_repeat_it(
    ask: Callable[..., Any], location: str
) -> None:
    head = b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: " + location.encode("latin-1") + b"\r\n\r\n"
    with speaking(lambda: [head]) as tenant, pytest.raises(ApiError) as caught:
        ask(tenant.url)
    assert "PASSWORD" not in str(caught.value)
    assert "port" not in str(caught.value)


def test_an_answer_as_deep_as_one_likes_is_a_fault_of_the_server(ask: Callable[..., Any]) -> None:
    with speaking(answer(b"[" * 1_000_000)) as tenant, pytest.raises(ServerFault, match="not JSON"):
        ask(tenant.url)
    with (
        speaking(answer(b"[" * 100_000 + b"]" * 100_000, status=b"422 No")) as tenant,
        pytest.raises(ApiError),
    ):
        ask(tenant.url)


def test_answers_leave_no_cookies_behind() -> None:
    sent: list[httpx2.Headers] = []

    def tenant(request: httpx2.Request) -> httpx2.Response:
        sent.append(request.headers)
        return httpx2.Response(200, json={"data": []}, headers={"Set-Cookie": f"c{len(sent)}=1; Path=/"})

    with Client("https://tenant.example", TOKEN, transport=httpx2.MockTransport(tenant)) as client:
        for _ in range(3):
            client.call("GET", "/public-api/resources/users/v1.0")
    assert not any("cookie" in headers for headers in sent)


def test_the_body_of_an_answer_may_reach_the_limit_and_no_more() -> None:
    for extra, fault in ((0, None), (1, "the answer is larger than 1 MiB")):
        body = AnswerBody("gzip", limit_bytes=1 << 20)
        body.add(gzip.compress(bytes((1 << 20) + extra)))
        assert (len(body.whole()), body.fault) == ((0 if fault else 1 << 20), fault)


@pytest.mark.parametrize(
    "echo",
    [b"%b\r\n\r\n", OK + b"Authorization %b\r\n\r\n", OK + b"Transfer-Encoding: chunked\r\n\r\n%b\r\n"],
    ids=["status line", "header", "chunk"],
)
@pytest.mark.parametrize("before", [b"Bearer ", b"x" * 140])
def test_an_answer_that_is_no_http_and_echoes_the_token_does_not_show_it(
    ask: Callable[..., Any], echo: bytes, before: bytes
) -> None:
    with speaking(lambda: [echo % (before + TOKEN.encode())]) as tenant, pytest.raises(NoAnswer) as caught:
        ask(tenant.url)
    assert TOKEN[:6] not in str(caught.value)
    assert "illegal" in str(caught.value)
