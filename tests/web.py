"""Small web servers for tests: one whose answers the test decides, and a tenant of an earlier version."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx2

from tests.servers import Certificates
from tests.serving import serving

Answer = tuple[int, Mapping[str, str], bytes]


@contextlib.contextmanager
def answering(answer: Callable[[str, str], Answer], *, tls: Certificates | None = None) -> Iterator[str]:
    """A server that answers each request by its method and path; its URL. It sends no header of its own."""

    class Handler(_Handler):
        def answer(self) -> Answer:
            return answer(self.command, self.path)

    with _serving(Handler, tls) as url:
        yield url


@contextlib.contextmanager
def version_1(url: str) -> Iterator[str]:
    """A tenant that has version 1.0 of the notification subscriptions alone, in front of a simulator; its URL."""

    class Handler(_Handler):
        def answer(self) -> Answer:
            if self.path.startswith("/public-api/notifications/v2"):
                return 404, {}, b""
            sent = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            kept = {
                name: self.headers[name] for name in ("Authorization", "Content-Type") if name in self.headers
            }
            found = simulator.request(self.command, self.path, content=sent, headers=kept)
            return found.status_code, {"Content-Type": found.headers.get("Content-Type", "")}, found.content

    with httpx2.Client(base_url=url, trust_env=False) as simulator, _serving(Handler) as served:
        yield served


class _Handler(BaseHTTPRequestHandler):
    def answer(self) -> Answer:
        raise NotImplementedError

    def _answer(self) -> None:
        status, headers, body = self.answer()
        self.send_response_only(status)
        for name, value in {"content-length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _answer  # noqa: N815

    def log_message(self, *_: Any) -> None:
        """Print nothing."""


@contextlib.contextmanager
def _serving(handler: type[_Handler], tls: Certificates | None = None) -> Iterator[str]:
    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: Any) -> None:
            """Print nothing: a client that refuses our certificate is what a test wants."""

    server = Server(("127.0.0.1", 0), handler)
    if tls is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tls.certificate, tls.key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    with serving(server):
        yield f"{'https' if tls else 'http'}://127.0.0.1:{server.server_address[1]}"
