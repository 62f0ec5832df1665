"""The small HTTP sender, against servers that behave in every way a server may."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from ampeco.simulator.delivery.load_client import Connections, NoAnswer, Target

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nthanks"
Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def server(script: Script) -> AsyncIterator[str]:
    """A raw TCP server that runs the script once per connection."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await script(reader, writer)
        finally:
            writer.close()

    listening = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/hook?a=b"
    finally:
        listening.close()


async def request(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    return head, await reader.readexactly(length)


def answering(*answers: bytes, then_close: bool = False) -> Script:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in answers:
            await request(reader)
            writer.write(answer)
        if not then_close:
            await reader.read()

    return script


def post(script: Script, times: int = 1) -> list[int]:
    async def run() -> list[int]:
        connections = Connections()
        async with server(script) as url, asyncio.timeout(60):
            try:
                return [await connections.post(url, {"X-One": "1"}, b"body") for _ in range(times)]
            finally:
                connections.close()

    return asyncio.run(run())


def test_what_is_sent() -> None:
    seen: list[tuple[bytes, bytes]] = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await request(reader))
        writer.write(OK)

    assert post(script) == [200]
    head, body = seen[0]
    assert head.startswith(b"POST /hook?a=b HTTP/1.1\r\nHost: 127.0.0.1:")
    assert b"\r\nX-One: 1\r\nContent-Length: 4\r\n\r\n" in head
    assert body == b"body"


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (OK, 200),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204),
        (b"HTTP/1.1 503 No\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nsorry\r\n0\r\n\r\n", 503),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, 200),
        (b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n", 302),
    ],
)
def test_answers_of_every_shape_are_read_and_the_connection_is_used_again(answer: bytes, status: int) -> None:
    assert post(answering(answer, OK), times=2) == [status, 200]


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\n\r\nthe end is where I hang up",
        b"HTTP/1.0 200 OK\r\n\r\nold",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
    ],
)
def test_a_server_that_hangs_up_after_its_answer_has_answered(answer: bytes) -> None:
    assert post(answering(answer, then_close=True), times=3) == [200, 200, 200]


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\nContent-Le", b"SSH-2.0\r\n\r\n"])
def test_a_server_that_hangs_up_within_its_answer_has_not(answer: bytes) -> None:
    with pytest.raises(NoAnswer):
        post(answering(answer, then_close=True))


def test_a_status_counts_even_when_the_rest_is_cut_off() -> None:
    assert post(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort", then_close=True)) == [200]


def test_an_upgrade_nobody_asked_for_is_no_answer() -> None:
    with pytest.raises(NoAnswer):
        post(
            answering(
                b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nrest", then_close=True
            )
        )


def test_a_connection_closed_while_idle_costs_nothing() -> None:
    """The other side closes after each answer without saying so; nothing is lost and nothing raised."""
    assert post(answering(OK, then_close=True), times=5) == [200] * 5


def test_what_arrives_unasked_ends_the_connection() -> None:
    assert post(answering(OK + b"HTTP/1.1 408 Too late\r\n\r\n", OK), times=2) == [200, 200]


def test_no_connection_is_an_os_error() -> None:
    async def run() -> None:
        async with server(answering(OK)) as url:
            pass
        with pytest.raises(OSError):
            await Connections().post(url, {}, b"")

    asyncio.run(run())


def test_a_cancelled_post_leaves_no_connection_behind() -> None:
    closed = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        await reader.read()
        closed.set()

    async def run() -> None:
        async with server(script) as url:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await Connections().post(url, {}, b"")
            async with asyncio.timeout(60):
                await closed.wait()

    asyncio.run(run())


@pytest.mark.parametrize(
    "url",
    ["", "receiver.example", "ftp://a/", "http://", "http://user:pw@a/", "http://a/\r\nX: 1", "http://a/ b", "http://a:x/",
     "http://ä/", "http://a:99999/"],
)  # fmt: skip
def test_what_is_no_plain_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError):
        Target.of(url)


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("http://a", Target(False, "a", 80, b"POST / HTTP/1.1\r\nHost: a\r\n")),
        ("https://a/b?c=d#e", Target(True, "a", 443, b"POST /b?c=d HTTP/1.1\r\nHost: a\r\n")),
        ("http://[::1]:81/x", Target(False, "::1", 81, b"POST /x HTTP/1.1\r\nHost: [::1]:81\r\n")),
    ],
)
def test_a_url_is_taken_apart(url: str, target: Target) -> None:
    assert Target.of(url) == target
