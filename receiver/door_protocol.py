"""uvicorn's HTTP protocol, with a short way for webhook requests that arrive whole.

Head and body of a notification nearly always come in one piece. Such a request needs no task, no ASGI scope and
no events between a reader and a writer: it is read, handed to the endpoint, and answered when the log has it.
Everything else takes uvicorn's way through the ASGI application, with the same endpoint behind it: another path,
a body in pieces, a second request before the first is answered, whatever the gate refuses, and a last request.

Both ways share a connection and change only between two requests, each with a parser of its own of the same kind.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from receiver.endpoint import Reply, WebhookEndpoint
from receiver.errors import Refused


def protocol_for(endpoint: WebhookEndpoint, path: str) -> Callable[..., HttpToolsProtocol]:
    """What uvicorn makes a protocol of each connection with.

    Args:
        path: where the endpoint is; only requests for exactly this path take the short way.
    """
    url, wire = path.encode(), _Wire()
    return lambda **given: DoorProtocol(endpoint, url, wire, **given)


class DoorProtocol(HttpToolsProtocol):
    """One connection."""

    def __init__(self, endpoint: WebhookEndpoint, url: bytes, wire: _Wire, **given: Any) -> None:
        self._endpoint = endpoint
        self._url = url
        self._wire = wire
        self._request = _WholeRequest(endpoint.looked_at)
        self._answering = False  # a request that took the short way
        self._amid = False  # a request that takes the long way, and that has not arrived whole yet
        self._early = b""  # what came before the answer was sent
        self._last = False
        self._answered_s = 0.0
        super().__init__(**given)

    def data_received(self, data: bytes) -> None:
        """Bytes from the sender."""
        if self._answering:
            self._early += data
            self.flow.pause_reading()
        elif not (self._is_between_requests() and self._took(data)):
            super().data_received(data)

    def _is_between_requests(self) -> bool:
        return not self._amid and (self.cycle is None or self.cycle.response_complete)

    def _took(self, data: bytes) -> bool:
        request = self._request
        if not request.read(data) or request.url != self._url or self.flow.write_paused:
            return False
        try:
            signature = self._endpoint.gate(request.method, request.headers)
        except Refused:
            return False
        body, request.body = request.body, b""  # a connection may be idle for long after it
        self._answering = True
        self._endpoint.take(body, signature, request.headers, self._answer)
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
        self._answered_s = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self._close_when_idle_for(self.timeout_keep_alive)
        if self._early:
            early, self._early = self._early, b""
            self.flow.resume_reading()
            self.data_received(early)

    def shutdown(self) -> None:
        """The server stops: what is under way is still answered."""
        if self._answering:
            self._last = True
        else:
            super().shutdown()

    # The time-out of an idle connection is looked at when it ends instead of being set anew for every request.

    def timeout_keep_alive_handler(self) -> None:
        """Close the connection, if there was no request meanwhile."""
        left_s = self._answered_s + self.timeout_keep_alive - self.loop.time()
        if self._answering or left_s > 0:
            self._close_when_idle_for(self.timeout_keep_alive if self._answering else left_s)
        else:
            super().timeout_keep_alive_handler()

    def _close_when_idle_for(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(seconds, self.timeout_keep_alive_handler)

    # What uvicorn's own parser reports

    def on_message_begin(self) -> None:
        """A request takes the long way."""
        self._amid = True
        super().on_message_begin()

    def on_message_complete(self) -> None:
        """It has arrived."""
        self._amid = False
        super().on_message_complete()


class _WholeRequest:
    """A request that is all of what was read, and nothing out of the ordinary.

    Attributes:
        headers: those that the endpoint looks at, names in lower case.
    """

    def __init__(self, looked_at: frozenset[bytes]) -> None:
        self._looked_at = looked_at
        self._parser: Any = None
        self._begun = 0
        self._usual = self._whole = False
        self.method = self.url = self.body = b""
        self.headers: list[tuple[bytes, bytes]] = []

    def read(self, data: bytes) -> bool:
        """Whether these bytes are such a request; then its parts are in the attributes."""
        if self._parser is None:
            self._parser = httptools.HttpRequestParser(self)
        self._begun, self._whole = 0, False
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._whole = False
        if not self._whole or self._begun != 1:
            self._parser, self.body = None, b""  # they may be amid a request, which somebody else reads on
            return False
        return True

    # What the parser reports

    def on_message_begin(self) -> None:
        self._begun += 1
        self._usual, self._whole = True, False
        self.url = self.body = b""
        self.headers = []

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        if name in self._looked_at:
            self.headers.append((name, value))
        elif name in _UNUSUAL:
            self._usual = False

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        parser = self._parser
        self.method = parser.get_method()
        lasting = (
            parser.should_keep_alive() and not parser.should_upgrade() and parser.get_http_version() == "1.1"
        )
        self._whole = self._usual and lasting


_UNUSUAL = frozenset((b"expect", b"transfer-encoding"))


class _Wire:
    """Replies as bytes. Rendered once for each reply and each value of the headers that uvicorn adds (the date)."""

    def __init__(self) -> None:
        self._added: object = None
        self._rendered: dict[tuple[Reply, bool], bytes] = {}

    def of(self, reply: Reply, added: list[tuple[bytes, bytes]], *, last: bool) -> bytes:
        """All of a reply.

        Args:
            added: uvicorn's headers; it makes a new list when they change.
            last: the connection is closed after it.
        """
        if added is not self._added:
            self._added, self._rendered = added, {}
        found = self._rendered.get((reply, last))
        if found is None:
            headers = [*added, *reply.headers, *([(b"connection", b"close")] if last else [])]
            lines = [b"%b: %b\r\n" % header for header in headers]
            found = self._rendered[reply, last] = b"".join([STATUS_LINE[reply.status], *lines, b"\r\n"])
        return found
