"""A real HTTP server that takes what handlers send to a URL of an operator's."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from tests.serving import serving

_PIECE = 65_536


class Received(NamedTuple):
    """A request that arrived whole."""

    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass
class Answer:
    """What the target answers.

    Attributes:
        hangs: it sends no answer until the test ends.
        drips: it sends a byte of the body at a time and never ends.
    """

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b"ok"
    hangs: bool = False
    drips: bool = False


class Target(ThreadingHTTPServer):
    """Answers 200, unless the test sets other answers for the next requests."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.received: list[Received] = []
        self.answers: list[Answer] = []
        self.released = threading.Event()
        self.connections = 0
        self._sent: queue.Queue[int] = queue.Queue()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/hooks/secret-part?token=secret-too"

    def sent(self) -> int:
        """How many bytes of its next answer went out before the client left."""
        return self._sent.get(timeout=10)

    def note_sent(self, count: int) -> None:
        self._sent.put(count)

    def process_request(self, request: Any, client_address: Any) -> None:
        self.connections += 1
        super().process_request(request, client_address)

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: clients leave early on purpose."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Target

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.received.append(Received(self.path, dict(self.headers.items()), body))
        answer = self.server.answers.pop(0) if self.server.answers else Answer()
        if answer.hangs:
            self.server.released.wait(20)
            return
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body) if not answer.drips else 1_000_000))
        self.end_headers()
        sent = 0
        try:
            for at in range(0, len(answer.body), _PIECE):
                sent += self.wfile.write(answer.body[at : at + _PIECE])
        finally:
            self.server.note_sent(sent)
        while answer.drips and not self.server.released.is_set():
            self.wfile.write(b"x")
            self.wfile.flush()
            time.sleep(0.05)

    def do_GET(self) -> None:
        self.server.received.append(Received(self.path, {}, b"GET"))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing."""


@contextlib.contextmanager
def target() -> Iterator[Target]:
    """Serve until the end of the block."""
    server = Target()
    with serving(server):
        try:
            yield server
        finally:
            server.released.set()
