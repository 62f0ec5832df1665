"""uvicorn's HTTP protocol with a fast path for webhook requests that arrive in one piece.

Most notifications do. The fast path parses such a request, hands it to the endpoint, and answers when the log has
it. It needs no task, no ASGI scope and no ASGI messages. Every other request takes the slow path: uvicorn's way
through the ASGI application, to the same endpoint. These are requests that

- are for another path, or that the gate refuses,
- arrive in several pieces, or before the previous one is answered,
- have `Expect` or a chunked body, are HTTP/1.0, or are the last of their connection.

A connection changes its path only between two requests. Each path has a parser of its own, of the same kind.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from receiver.answers import TOO_MANY_WAITING, Headers, Reply, rendered
from receiver.bounded_http import BoundedProtocol
from receiver.connections import Connections
from receiver.endpoint import WebhookEndpoint
from receiver.errors import Refused


def protocol_for(
    endpoint: WebhookEndpoint, path: str, connections: Connections | None = None
) -> Callable[..., HttpToolsProtocol]:
    """Return uvicorn's factory of protocols. Only requests for exactly this path take the fast path."""
    url, wire, connections = path.encode(), _Wire(), connections or Connections()
    return lambda **given: FastPathProtocol(endpoint, url, wire, connections, **given)


class FastPathProtocol(BoundedProtocol):
    """The protocol of one connection."""

    def __init__(
        self, endpoint: WebhookEndpoint, url: bytes, wire: _Wire, connections: Connections, **given: Any
    ) -> None:
        super().__init__(connections, **given)
        self._endpoint = endpoint
        self._url = url
        self._wire = wire
        self._request = _WholeRequest(endpoint.used_headers)
        self._answering = False  # whether a request on the fast path waits for its answer
        self._early = b""  # bytes that arrived before the answer was sent
        self._last = False

    def data_received(self, data: bytes) -> None:
        """Take bytes from the sender."""
        if self._answering:
            self._wait(data)
        elif not (self._is_between_requests() and self._took(data)):
            self._request.forget()
            super().data_received(data)

    def _wait(self, data: bytes) -> None:
        if self._refusal:
            return
        self._early += data
        self.flow.pause_reading()
        if len(self._early) > self._limits.early_bytes:
            self._early = b""
            self._refuse(TOO_MANY_WAITING)

    def eof_received(self) -> bool | None:  # type: ignore[override]
        """Keep the connection for an open answer, although the sender sends nothing more."""
        if not self._answering:
            return super().eof_received()
        self._last = True
        return True

    @property
    def is_at_work(self) -> bool:
        """Whether a request has arrived completely and waits for its answer."""
        return self._answering or super().is_at_work

    @property
    def _waiting(self) -> int:
        return self._answering + super()._waiting

    def _is_between_requests(self) -> bool:
        return not (self._receiving or self._refusal) and (self.cycle is None or self.cycle.response_complete)

    def _took(self, data: bytes) -> bool:
        request = self._request
        head = data.find(b"\r\n\r\n", 0, self._limits.head_bytes)
        if head < 0 or data.count(b"\n", 0, head) > self._limits.headers:
            return False
        if not request.read(data) or request.url != self._url or self.flow.write_paused:
            return False
        try:
            signature = self._endpoint.gate(request.method, request.headers)
        except Refused:
            return False
        # Do not hold them while the connection is idle.
        body, request.body = request.body, b""
        headers, request.headers = request.headers, []
        self._answering = True
        self.due_s = inf
        self._endpoint.take(body, signature, headers, self._answer)
        return True

    def _answer(self, reply: Reply) -> None:
        self._answering = False
        if self.transport.is_closing():
            return
        self.transport.write(self._wire.of(reply, self.server_state.default_headers, last=self._last))
        self.server_state.total_requests += 1
        if self._last:
            self.transport.close()
            return
        self.answered_s = self.loop.time()
        if self._refusal:
            self._send_refusal()
            return
        if self.timeout_keep_alive_task is None:
            self._close_when_idle_for(self.timeout_keep_alive)
        if self._early:
            early, self._early = self._early, b""
            self.flow.resume_reading()
            self.data_received(early)

    def shutdown(self) -> None:
        """Close the connection, after the answer to an open request."""
        if self._answering:
            self._last = True
        else:
            super().shutdown()

    # One timer for an idle connection: it checks the time when it ends. Setting it for each request would cost more.

    def timeout_keep_alive_handler(self) -> None:
        """Close the connection if it was idle; else set the timer again."""
        left_s = self.answered_s + self.timeout_keep_alive - self.loop.time()
        if self._answering or left_s > 0:
            self._close_when_idle_for(self.timeout_keep_alive if self._answering else left_s)
        else:
            super().timeout_keep_alive_handler()

    def _close_when_idle_for(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(seconds, self.timeout_keep_alive_handler)


class _WholeRequest:
    """Parses one read of the socket, and accepts it if it is exactly one plain request.

    Attributes:
        url: path and query as sent.
        headers: those that the endpoint uses, names in lower case.
    """

    def __init__(self, used_headers: frozenset[bytes]) -> None:
        self._used_headers = used_headers
        self._parser: Any = None
        self._begun = False
        self._usual = self._whole = False
        self.method = self.url = self.body = b""
        self.headers: Headers = []

    def read(self, data: bytes) -> bool:
        """Return whether these bytes are such a request. If so, the attributes hold its parts."""
        if self._parser is None:
            self._parser = httptools.HttpRequestParser(self)
        self._begun = self._whole = False
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._whole = False
        if not self._whole:
            # The parser may be inside a request that the slow path continues.
            self._parser = None
            return False
        return True

    def forget(self) -> None:
        """Keep nothing while the connection is idle, or the slow path has the request."""
        self.url = self.body = b""
        self.headers = []

    # Callbacks of the parser

    def on_message_begin(self) -> None:
        if self._begun:
            raise _MoreThanOne  # do not parse the rest of what may be thousands
        self._begun = True
        self._usual, self._whole = True, False
        self.url = b""

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        if name in self._used_headers:
            self.headers.append((name, value))
        elif name in _UNUSUAL:
            self._usual = False

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        parser = self._parser
        self.method = parser.get_method()
        lasting = parser.should_keep_alive() and not parser.should_upgrade()
        self._whole = self._usual and lasting and parser.get_http_version() == "1.1"


class _MoreThanOne(Exception):
    """Stops the parser inside a callback."""


_UNUSUAL = frozenset((b"expect", b"transfer-encoding"))


class _Wire:
    """Renders replies as bytes: once for each reply and each value of the headers that uvicorn adds (the date)."""

    def __init__(self) -> None:
        self._added: object = None
        self._rendered: dict[tuple[Reply, bool], bytes] = {}

    def of(self, reply: Reply, added: Headers, *, last: bool) -> bytes:
        """Render a reply.

        Args:
            added: uvicorn's headers. uvicorn makes a new list when they change.
            last: whether the connection is closed after it.
        """
        if added is not self._added:
            self._added, self._rendered = added, {}
        found = self._rendered.get((reply, last))
        if found is None:
            headers = (*reply.headers, (b"connection", b"close")) if last else reply.headers
            found = self._rendered[reply, last] = rendered(Reply(reply.status, headers), added)
        return found
