"""A real HTTP server on a loopback port that can hang, break off and count who connects."""

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.serving import serving

WAIT_S = 20.0


class Listener(ThreadingHTTPServer):
    """Answers `{"data": []}`, unless the test sets other answers for the next requests.

    Attributes:
        faults: what to do instead of answering, in order: `hang`, `reset`, `close`, `refuse`; `ok` for an answer.
        received: method and path of each request that arrived whole.
        accepted: connections so far.
    """

    daemon_threads = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.faults: list[str] = []
        self.received: list[tuple[str, str]] = []
        self.accepted = 0
        self.released = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def get_request(self) -> tuple[socket.socket, Any]:
        self.accepted += 1
        return super().get_request()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Listener

    def _serve(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.received.append((self.command, self.path.partition("?")[0]))
        fault = self.server.faults.pop(0) if self.server.faults else "ok"
        if fault in ("ok", "refuse"):
            body = b'{"data": []}'
            self.send_response(200 if fault == "ok" else 400)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            return
        self.close_connection = True
        if fault == "hang":
            self.server.released.wait(WAIT_S)
        elif fault == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    do_GET = do_POST = do_PUT = do_DELETE = _serve  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: test output is for tests."""


@contextlib.contextmanager
def listening() -> Iterator[Listener]:
    """A server that listens until the end of the block."""
    server = Listener()
    with serving(server):
        try:
            yield server
        finally:
            server.released.set()


def closed_port() -> int:
    """Return a loopback port on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
