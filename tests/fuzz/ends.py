"""The two ends that are compared: our protocol, and uvicorn's own, before the same endpoint and application."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from ampeco.signature import SigningKey
from eventlog.log import Answer, AppendReply, Element
from receiver.app import create_app
from receiver.endpoint import WebhookEndpoint
from receiver.endpoint_log import EndpointLog
from receiver.fast_path import protocol_for
from receiver.group_commit import GroupCommit
from receiver.http_server import KEEP_ALIVE_S
from receiver.intake import Intake
from receiver.metrics import Metrics
from receiver.request_body import Limits
from receiver.verification import Verifier
from tests.door import PATH, TOKEN
from tests.fuzz.stepped_loop import SteppedLoop

BODY_LIMIT = 1024
LIMITS = Limits(body_bytes=BODY_LIMIT, read_timeout_s=20.0, unfinished_bytes=8 * BODY_LIMIT, linger_s=1.0)
KEY = SigningKey.of(TOKEN)

_ACCEPTED = Answer("accepted", "0-1-0")
_FULL = Answer("refused", reason="log-full")


class Recorder(WebhookEndpoint):
    """The endpoint, which also writes down what is handed over to it.

    Attributes:
        taken: body and signature of each request that passed the gate.
    """

    taken: list[tuple[bytes, bytes | None]]

    def take(self, body: bytes, signature: bytes | None, *rest: Any) -> None:
        self.taken.append((bytes(body), signature))
        super().take(body, signature, *rest)


class End:
    """One server process without sockets: an endpoint with all that is behind it but Redis, and a protocol."""

    def __init__(self, loop: SteppedLoop, *, plain: bool) -> None:
        """Serve with uvicorn's own protocol if `plain`, else with ours."""
        self.loop = loop
        self.round: int | None = (
            None  # decides which bodies the log refuses; None: none, and it answers at once
        )
        counted = EndpointLog(Metrics(), lambda queues: None, log=_Silent())
        self.commit = GroupCommit(self._append, counted)
        self.endpoint = Recorder(
            Verifier([KEY]),
            Intake(self.commit),
            counted,
            accept_status=202,
            now_ms=lambda: 0,
            limits=LIMITS,
        )
        self.endpoint.taken = []
        app = create_app(self.endpoint, PATH, list)
        config = Config(
            app, log_config=None, lifespan="off", ws="none", proxy_headers=False, access_log=False
        )
        config.timeout_keep_alive = KEEP_ALIVE_S
        config.load()
        self._config = config
        self._make: Callable[..., HttpToolsProtocol] = (
            HttpToolsProtocol if plain else protocol_for(self.endpoint, PATH)
        )
        self.state = ServerState()

    async def _append(self, elements: Sequence[Element]) -> AppendReply:
        if self.round is None:
            return AppendReply([_ACCEPTED] * len(elements), [])
        dice = [Random(b"%d %b" % (self.round, one.body)) for one in elements]
        for _ in range(dice[0].randrange(3)):
            await asyncio.sleep(0)
        return AppendReply([_FULL if each.random() < 0.02 else _ACCEPTED for each in dice], [])

    def connect(self) -> Connection:
        """Open a connection."""
        return Connection(
            self.loop, self._make(config=self._config, server_state=self.state, app_state={}, _loop=self.loop)
        )

    def left_behind(self) -> list[str]:
        """Return what is still there, although every connection is closed."""
        self.state.total_requests = 0
        held = {
            "bytes in the group commit": self.commit.waiting_bytes,
            "elements in the group commit": len(self.commit._waiting),
            "bytes of unfinished bodies": self.endpoint._bodies._unfinished_bytes,
            "tasks of uvicorn": len(self.state.tasks),
            "connections of uvicorn": len(self.state.connections),
        }
        return [f"{many} {what}" for what, many in held.items() if many]


class Connection(asyncio.Transport):
    """The sender's side of one connection: a transport that keeps what is written to it."""

    def __init__(self, loop: SteppedLoop, protocol: HttpToolsProtocol) -> None:
        super().__init__()
        self._loop = loop
        self._protocol = protocol
        self._paused = False
        self._unread: list[bytes] = []
        self.written = bytearray()
        self.closed = False
        protocol.connection_made(self)

    def send(self, data: bytes) -> None:
        """Send bytes; they wait while the server does not read."""
        if self._paused:
            self._unread.append(data)
        elif not self.closed:
            self._protocol.data_received(data)

    def end(self) -> None:
        """Send the end of the stream, as a sender does that closes its half."""
        if not self.closed and not self._protocol.eof_received():
            self.close()

    def held(self) -> list[str]:
        """Return what an idle connection holds of requests that were answered."""
        request = getattr(self._protocol, "_request", None)
        bodies = {
            "bytes of a body": getattr(request, "body", b""),
            "early bytes": getattr(self._protocol, "_early", b""),
        }
        return [f"{len(held)} {what}" for what, held in bodies.items() if held]

    def lose(self) -> None:
        """Reset the connection."""
        if not self.closed:
            self.closed = True
            self._loop.call_soon(self._protocol.connection_lost, ConnectionResetError())

    # What the protocol calls

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not self.closed:  # asyncio drops what is written to a closing transport
            self.written += data

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self._loop.call_soon(self._protocol.connection_lost, None)

    abort = lose

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        self._paused = True

    def resume_reading(self) -> None:
        if self._paused:
            self._paused = False
            self._loop.call_soon(self._read_on)

    def _read_on(self) -> None:
        while self._unread and not self._paused and not self.closed:
            self._protocol.data_received(self._unread.pop(0))


class _Silent:
    def warning(self, *_: object, **__: object) -> None: ...

    debug = info = error = warning
