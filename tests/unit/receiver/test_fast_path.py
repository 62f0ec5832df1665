"""One connection: the fast and the slow path give the same answers, in order, once, and shut down cleanly.

The transport is a fake, so that a test decides in which pieces bytes arrive.
"""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.types import Receive, Scope, Send
from uvicorn import Config
from uvicorn.server import ServerState

from ampeco.signature import SCHEMES, SigningKey, sign
from benchmarks.door import chunked
from eventlog.log import Answer, AppendReply, Element
from receiver.endpoint import WebhookEndpoint
from receiver.endpoint_log import EndpointLog
from receiver.fast_path import FastPathProtocol, protocol_for
from receiver.group_commit import GroupCommit
from receiver.intake import Intake
from receiver.metrics import Metrics
from receiver.request_body import Limits
from receiver.verification import Verifier

KEY = SigningKey.of("token")
PATH = "/hook"
LIMIT = 300


def body(number: int = 0) -> bytes:
    return b'{"notification": "BootNotification", "chargePointId": %d}' % number


def request(
    content: bytes = b"",
    *,
    method: str = "POST",
    path: str = PATH,
    version: str = "1.1",
    signature: str | None = None,
    **headers: str,
) -> bytes:
    """A request as bytes; `_` in a header's name stands for `-`."""
    named = {"Host": "x", "X-Signature": signature or sign(content, KEY), "Content-Length": str(len(content))}
    named |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = "".join(f"{name}: {value}\r\n" for name, value in named.items() if value)
    return f"{method} {path} HTTP/{version}\r\n{lines}\r\n".encode() + content


class Wire(asyncio.Transport):
    """What was written, and whether the connection was closed."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closed = False
        self.reading = True

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.closed
        self.written += bytes(data)

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    @property
    def statuses(self) -> list[int]:
        return [int(part[:3]) for part in self.written.split(b"HTTP/1.1 ")[1:]]


class Door:
    """A connection, the endpoint behind it, and a log that answers when the test lets it."""

    def __init__(self, *, keep_alive_s: int = 75, scheme: str = "body") -> None:
        self.wire = Wire()
        self.bodies: list[bytes] = []
        self.log_is_quick = asyncio.Event()
        self.log_is_quick.set()
        self.slow_requests = 0
        counted = EndpointLog(Metrics(), lambda queues: None)
        limits = Limits(body_bytes=LIMIT, linger_s=0.01)
        self.endpoint = WebhookEndpoint(
            Verifier([KEY], scheme, tolerance_s=60),
            Intake(GroupCommit(self._append, counted)),
            counted,
            accept_status=202,
            now_ms=lambda: 0,
            limits=limits,
        )
        config = Config(self._app, log_config=None, lifespan="off", ws="none", interface="asgi3")
        config.timeout_keep_alive = keep_alive_s
        config.load()
        self.state = ServerState()
        made = protocol_for(self.endpoint, PATH)(config=config, server_state=self.state, app_state={})
        assert isinstance(made, FastPathProtocol)
        self.connection = made
        self.connection.connection_made(self.wire)

    async def _app(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.slow_requests += 1
        if scope["path"] == PATH:
            await self.endpoint(scope, receive, send)
        else:
            await send({"type": "http.response.start", "status": 404, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body", "body": b""})

    async def _append(self, elements: Sequence[Element]) -> AppendReply:
        await self.log_is_quick.wait()
        self.bodies += [one.body for one in elements]
        return AppendReply([Answer("accepted", "0-1-0")] * len(elements), [])

    async def answered(self, count: int) -> list[int]:
        """The statuses of so many answers, as soon as they are there."""
        await until(lambda: len(self.wire.statuses) >= count)
        return self.wire.statuses


async def until(holds: Callable[[], object]) -> None:
    """Let the loop turn until it holds; `play` sets the time limit."""
    while not holds():
        await asyncio.sleep(0)


def play(scenario: Callable[[], Awaitable[Any]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(60):
            await scenario()

    asyncio.run(main())


CASES = {
    "good": (request(body()), 202),
    "quarantined": (request(b"[1]"), 202),
    "gzip": (request(gzip.compress(body()), Content_Encoding="gzip"), 202),
    "an unknown encoding": (request(b"\x0b\x02", Content_Encoding="br"), 202),
    "bad signature": (request(body(), signature="00"), 401),
    "no signature": (request(body(), X_Signature=""), 401),
    "another type": (request(body(), Content_Type="text/plain"), 415),
    "too large": (request(b"x" * (LIMIT + 1)), 413),
    "a length after many zeros": (request(body(), Content_Length=f"{len(body()):025}"), 413),
    "another method": (request(b"", method="GET"), 405),
    "two signatures": (request(body()).replace(b"Host: x", b"X-Signature: 00"), 401),
    "two content types": (
        request(body(), Content_Type="text/json").replace(b"Host: x", b"Content-Type: application/json"),
        415,
    ),
    "an upgrade": (request(body(), Connection="Upgrade", Upgrade="h2c"), 202),
    "an upgrade, chunked": (chunked(request(body(), Connection="keep-alive, upgrade", Upgrade="x")), 202),
    "a trailer": (chunked(request(body()))[:-2] + b"X-Signature: 00\r\n\r\n", 202),
    "many headers": (request(body()).replace(b"Host: x\r\n", b"a: b\r\n" * 101), 431),
    "another path": (request(b"", method="GET", path="/elsewhere"), 404),
    "a path that only starts alike": (request(body(), path=f"{PATH}/more"), 404),
    "the same path spelled otherwise": (request(body(), path="/h%6fok"), 202),
    "the same path with a query": (request(body(), path=f"{PATH}?x=1"), 202),
    "an empty body": (request(b""), 202),
    "asks first": (request(body(), Expect="100-continue"), 202),
    "chunked": (chunked(request(body())), 202),
    "no HTTP": (b"nonsense\r\n\r\n", 400),
}


def without_date(written: bytes) -> list[bytes]:
    lines = written.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n").split(b"\r\n")
    return [line for line in lines if not line.startswith(b"date")]


@pytest.mark.parametrize("name", CASES)
def test_in_one_piece_or_in_two_the_answer_is_the_same(name: str) -> None:
    sent, status = CASES[name]

    async def scenario() -> None:
        whole = Door()
        whole.connection.data_received(sent)
        await until(lambda: status in whole.wire.statuses)
        for at in range(1, len(sent), 7):
            pieces = Door()
            pieces.connection.data_received(sent[:at])
            await asyncio.sleep(0)
            if not pieces.wire.closed:
                pieces.connection.data_received(sent[at:])
            await until(lambda door=pieces: status in door.wire.statuses)  # type: ignore[misc]
            assert without_date(pieces.wire.written) == without_date(whole.wire.written)
            assert pieces.bodies == whole.bodies

    play(scenario)


AT = b"1970-01-01T00:00:00.000000Z"  # the endpoint's clock stands there


@pytest.mark.parametrize("scheme", [*SCHEMES, "auto"])
@pytest.mark.parametrize(
    ("at", "status"),
    [(AT, 202), (b"1970-01-01T00:00:01.000000Z", 401), (b"1969-12-31T23:58:00.000000Z", 401)],
)
def test_both_paths_verify_with_the_timestamp(scheme: str, at: bytes, status: int) -> None:
    """Signed at AT, or changed afterwards, or signed long ago."""
    form = "body+timestamp" if scheme == "auto" else scheme
    signed_at = min(AT, at)
    signature = sign(SCHEMES[form](body(), {b"x-timestamp": signed_at}), KEY)
    sent = request(body(), signature=signature, X_Timestamp=at.decode())
    expected = 202 if scheme == "body" else status

    async def scenario() -> None:
        for cut, slow_requests in ((len(sent), 0), (len(sent) - 5, 1)):
            door = Door(scheme=scheme)
            for piece in (sent[:cut], sent[cut:]):
                if piece:
                    door.connection.data_received(piece)
            assert await door.answered(1) == [expected]
            assert door.slow_requests == slow_requests
            assert door.bodies == ([body()] if expected == 202 else [])

    play(scenario)


def test_a_whole_request_takes_the_fast_path_and_the_connection_stays() -> None:
    async def scenario() -> None:
        door = Door()
        for number in range(3):
            door.connection.data_received(request(body(number)))
            assert await door.answered(number + 1) == [202] * (number + 1)
        assert (door.slow_requests, door.wire.closed, door.state.total_requests) == (0, False, 3)
        assert door.bodies == [body(0), body(1), body(2)]

    play(scenario)


def test_a_chunked_request_takes_the_slow_path() -> None:
    """The benchmark of the slow path relies on it."""

    async def scenario() -> None:
        door = Door()
        door.connection.data_received(chunked(request(body())))
        assert await door.answered(1) == [202]
        assert (door.slow_requests, door.bodies) == (1, [body()])

    play(scenario)


@settings(max_examples=60)
@given(
    st.lists(
        st.sampled_from(["good", "bad signature", "another path", "asks first"]), min_size=1, max_size=6
    ),
    st.data(),
)
def test_many_requests_cut_anywhere_are_answered_in_order(names: list[str], data: st.DataObject) -> None:
    sent = b"".join(CASES[name][0] for name in names)
    cuts = sorted(data.draw(st.sets(st.integers(1, len(sent) - 1), max_size=8)))

    async def scenario() -> None:
        door = Door()
        for start, end in zip([0, *cuts], [*cuts, len(sent)], strict=True):
            await until(lambda: door.wire.reading)
            door.connection.data_received(sent[start:end])
            if data.draw(st.booleans()):
                await asyncio.sleep(0)
        wanted = [CASES[name][1] for name in names]
        await until(lambda: [status for status in door.wire.statuses if status != 100] == wanted)
        assert len(door.bodies) == names.count("good") + names.count("asks first")

    play(scenario)


def test_what_comes_before_the_answer_waits_for_it() -> None:
    async def scenario() -> None:
        door = Door()
        door.log_is_quick.clear()
        door.connection.data_received(request(body(1)))
        door.connection.data_received(request(body(2))[:40])
        assert (door.wire.written, door.wire.reading) == (b"", False)
        door.log_is_quick.set()
        assert await door.answered(1) == [202]
        assert door.wire.reading
        door.connection.data_received(request(body(2))[40:])
        assert await door.answered(2) == [202, 202]
        assert door.bodies == [body(1), body(2)]

    play(scenario)


@pytest.mark.parametrize("last", [{"Connection": "close"}, {"version": "1.0"}])
def test_a_last_request_is_answered_and_the_connection_closed(last: dict[str, str]) -> None:
    async def scenario() -> None:
        door = Door()
        door.connection.data_received(request(body(), **last))  # type: ignore[arg-type]
        assert await door.answered(1) == [202]
        assert door.wire.closed
        assert b"connection: close" in door.wire.written

    play(scenario)


def test_a_server_that_stops_still_answers_what_is_under_way() -> None:
    async def scenario() -> None:
        door, idle = Door(), Door()
        door.log_is_quick.clear()
        door.connection.data_received(request(body()))
        for each in (door, idle):
            each.connection.shutdown()
        assert (door.wire.closed, idle.wire.closed) == (False, True)
        door.log_is_quick.set()
        assert await door.answered(1) == [202]
        assert (door.wire.closed, b"connection: close" in door.wire.written) == (True, True)

    play(scenario)


def test_an_event_is_kept_although_its_sender_is_gone() -> None:
    async def scenario() -> None:
        door = Door()
        door.log_is_quick.clear()
        door.connection.data_received(request(body()))
        door.wire.closed = True
        door.connection.connection_lost(ConnectionResetError())
        door.log_is_quick.set()
        await until(lambda: door.bodies == [body()])
        await asyncio.sleep(0)
        assert door.wire.written == b""
        assert not door.state.connections

    play(scenario)


def test_an_idle_connection_is_closed_and_a_busy_one_is_not() -> None:
    async def scenario() -> None:
        door = Door(keep_alive_s=0)
        loop = asyncio.get_running_loop()
        door.connection.timeout_keep_alive = 0.05  # type: ignore[assignment]
        door.connection.data_received(request(body(1)))
        await door.answered(1)
        door.log_is_quick.clear()
        door.connection.data_received(request(body(2)))
        looked_at_s = loop.time() + 0.15
        await until(lambda: loop.time() > looked_at_s)
        assert not door.wire.closed
        door.log_is_quick.set()
        await door.answered(2)
        answered_s = loop.time()
        await until(lambda: door.wire.closed)
        assert loop.time() - answered_s >= 0.04

    play(scenario)


def test_a_sender_that_does_not_read_its_answers_is_not_answered_without_end() -> None:
    async def scenario() -> None:
        door = Door()
        door.connection.data_received(request(body(1)))
        await door.answered(1)
        door.connection.pause_writing()
        door.connection.data_received(request(body(2), signature="00"))
        await until(lambda: door.slow_requests == 1)
        assert door.wire.statuses == [202]
        door.connection.resume_writing()
        assert await door.answered(2) == [202, 401]

    play(scenario)


def test_the_date_is_that_of_the_answer() -> None:
    async def scenario() -> None:
        door = Door()
        for date in (b"Tue, 24 Nov 2026 10:00:00 GMT", b"Tue, 24 Nov 2026 10:00:01 GMT"):
            door.state.default_headers = [(b"date", date)]
            door.wire.written = b""
            door.connection.data_received(request(body()))
            await door.answered(1)
            assert b"date: " + date in door.wire.written

    play(scenario)


def test_many_bytes_before_the_answer_are_refused_after_it() -> None:
    async def scenario() -> None:
        door = Door()
        door.log_is_quick.clear()
        door.connection.data_received(request(body(1)))
        door.connection.data_received(request(b"x" * 20_000))
        assert not door.wire.reading
        door.log_is_quick.set()
        assert await door.answered(2) == [202, 429]
        assert door.bodies == [body(1)]

    play(scenario)


@pytest.mark.parametrize("first", ["good", "asks first"])
def test_a_request_that_is_refused_waits_for_the_answers_before_it(first: str) -> None:
    """On the fast path, and on the slow path."""

    async def scenario() -> None:
        door = Door()
        door.log_is_quick.clear()
        door.connection.data_received(CASES[first][0])
        await asyncio.sleep(0)
        door.connection.data_received(b"nonsense\r\n\r\n")
        await asyncio.sleep(0)
        assert not door.wire.statuses or door.wire.statuses == [100]
        door.log_is_quick.set()
        await until(lambda: [status for status in door.wire.statuses if status != 100] == [202, 400])
        assert door.wire.closed

    play(scenario)


@pytest.mark.parametrize("kept", ["good", "asks first"])
def test_a_sender_that_half_closes_gets_its_answer_and_then_the_end(kept: str) -> None:
    async def scenario() -> None:
        door = Door()
        door.log_is_quick.clear()
        door.connection.data_received(CASES[kept][0])
        await asyncio.sleep(0)
        assert door.connection.eof_received()
        assert not door.wire.closed
        door.log_is_quick.set()
        await until(lambda: door.wire.closed)
        assert door.wire.statuses[-1] == 202
        assert b"connection: close" in door.wire.written

    play(scenario)


def test_of_many_requests_in_one_piece_sixteen_are_parsed() -> None:
    async def scenario() -> None:
        door = Door()
        door.connection.data_received(request(method="GET", path="/elsewhere") * 10_000)
        assert len(door.connection.pipeline) == 15
        assert await door.answered(17) == [404] * 16 + [429]

    play(scenario)
