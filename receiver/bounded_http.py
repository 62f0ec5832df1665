"""uvicorn's HTTP protocol with limits on what a sender may send before a body, and how slowly.

uvicorn and its parser keep every header, and parse every request that waits behind another one. Here the bytes are
counted before they are parsed, and a request that goes over a limit is refused and its connection closed. Requests
that came before it are answered first.

`Upgrade` is served as if it were absent, and a sender that half-closes its connection gets its answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import inf
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from receiver.answers import (
    HEAD_TOO_LARGE,
    HEAD_TOO_SLOW,
    MALFORMED,
    TOO_MANY_WAITING,
    TRAILERS_TOO_LARGE,
    refusal,
    rendered,
)
from receiver.connections import Connections
from receiver.upgrade import head_without_upgrade

_NEVER = inf


def bounded(connections: Connections) -> Callable[..., HttpToolsProtocol]:
    """Return uvicorn's factory of protocols, with the limits of `connections`."""
    return lambda **given: BoundedProtocol(connections, **given)


class BoundedProtocol(HttpToolsProtocol):
    """The protocol of one connection.

    Attributes:
        due_s: loop time at which the connection must be closed.
        answered_s: loop time of the last answer, or of the connection.
    """

    def __init__(self, connections: Connections, **given: Any) -> None:
        super().__init__(**given)
        self._neighbours = connections
        self._limits = connections.limits
        self.due_s = _NEVER
        self.answered_s = 0.0
        self._receiving = False  # whether a request has begun and has not arrived completely
        self._in_body = False
        self._fields = 0  # headers, or trailers, of the request that arrives
        self._bare = 0  # bytes since the last part of a body, or since the last request
        self._is_first = False  # whether the bytes that are parsed begin with a request
        self._moved = False  # whether these bytes held a part of a body, or the end of a head
        self._is_upgrade = False
        self._fault = ""  # why a callback stopped the parser
        self._refusal = ""  # the reason, once a request is refused; nothing is parsed after that
        self._is_refusal_sent = False
        self._discarded = 0

    # Callbacks of the transport

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin with a new connection."""
        super().connection_made(transport)
        self.answered_s = self.loop.time()
        self.due_s = self.answered_s + self._limits.head_s
        self._neighbours.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._neighbours.lost(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes from the sender."""
        if self._refusal:
            self._discard(data)
            return
        self._unset_keepalive_if_required()
        if self.due_s == _NEVER and not self._receiving:
            self._bare = 0
        at = 0
        while at < len(data):
            # The parser gets no more than a head may still have.
            piece = data[at : at + self._limits.head_bytes - self._bare]
            at += len(piece)
            if not self._parsed(piece):
                return
        if self.due_s == _NEVER and (self._bare or self._is_in_head) and not self._in_body:
            self.due_s = self.loop.time() + self._limits.head_s

    def eof_received(self) -> bool | None:  # type: ignore[override]
        """Keep the connection for open answers, although the sender sends nothing more."""
        complete = self._waiting - self._in_body
        if self._is_refusal_sent or complete <= 0:
            return None
        if self._receiving and not self._refusal:
            self._refuse(MALFORMED)  # its rest will never come
        elif self.cycle is not None:
            self.cycle.keep_alive = False
        return True

    def pause_writing(self) -> None:
        """Give a sender that does not read its answers a time limit."""
        super().pause_writing()
        self.due_s = self.loop.time() + self.timeout_keep_alive

    def resume_writing(self) -> None:
        """Remove the time limit of a sender that reads its answers again."""
        super().resume_writing()
        self.due_s = self.loop.time() + self._limits.head_s if self._is_in_head else _NEVER

    # Limits

    @property
    def _is_in_head(self) -> bool:
        return self._receiving and not self._in_body and not self._refusal

    @property
    def is_at_work(self) -> bool:
        """Whether a request has arrived completely and waits for its answer."""
        if self.flow.write_paused or self.cycle is None or self.cycle.response_complete:
            return False
        return bool(self.pipeline) or not self._in_body

    def expire(self) -> None:
        """Close the connection, since its time is over."""
        if self.flow.write_paused:
            self.end("answer-not-read")
        elif self._is_in_head:
            self._refuse(HEAD_TOO_SLOW)
        elif self._receiving:
            self.end("body-too-slow")
        else:
            self.end("silent")

    def end(self, reason: str) -> None:
        """Close the connection without an answer."""
        self._neighbours.lost(self)
        self._neighbours.closed(reason)
        self.transport.abort()

    def timeout_keep_alive_handler(self) -> None:
        """Close the connection, which was idle."""
        self._neighbours.closed("idle")
        super().timeout_keep_alive_handler()

    def _parsed(self, piece: bytes) -> bool:
        """Parse some bytes; return False if a request was refused."""
        self._is_first, self._moved = not self._receiving, False
        try:
            self.parser.feed_data(piece)
        except httptools.HttpParserUpgrade as upgrade:
            return self._parsed_without_upgrade(piece[upgrade.args[0] :])
        except httptools.HttpParserError:
            return self._refuse(self._fault or MALFORMED)
        self._bare = 0 if self._moved else self._bare + len(piece)
        if self._bare >= self._limits.head_bytes:
            return self._refuse(TRAILERS_TOO_LARGE if self._in_body else HEAD_TOO_LARGE)
        return True

    def _parsed_without_upgrade(self, rest: bytes) -> bool:
        """Parse a head again, now without `Upgrade`, and then what follows it.

        The parser would take the body for bytes of another protocol.
        """
        self._receiving = self._is_upgrade = False
        head = head_without_upgrade(
            self.parser.get_method(), self.url, self.parser.get_http_version(), self.headers
        )
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
        return self._parsed(head) and (not rest or self._parsed(rest))

    def _stop(self, fault: str) -> None:
        self._fault = fault
        raise _Refused

    # Refusals

    def _refuse(self, reason: str) -> bool:
        """Refuse the request that arrives, after the answers to those before it. Always returns False."""
        arriving = self.cycle if self._in_body else None
        self._refusal, self._in_body, self.due_s = reason, False, _NEVER
        self._neighbours.refused(reason)
        if arriving is not None:
            waits = bool(self.pipeline)  # it is the last of those that wait
            if waits:
                self.pipeline.popleft()
            elif arriving.response_started:
                self.transport.close()
                return False
            arriving.disconnected = True
            arriving.message_event.set()
        else:
            waits = self._waiting > 0
        if waits:
            self.flow.pause_reading()
        else:
            self._send_refusal()
        return False

    def _send_refusal(self) -> None:
        if self.transport.is_closing():
            return
        self._is_refusal_sent = True
        self._unset_keepalive_if_required()
        answer = refusal(self._refusal, close=True)
        self.transport.write(rendered(answer, self.server_state.default_headers))
        if self._refusal == MALFORMED:
            self.transport.close()
        else:
            self.flow.resume_reading()
            self.loop.call_later(self._limits.linger_s, self.transport.close)

    def _discard(self, data: bytes) -> None:
        self._discarded += len(data)
        if not self._is_refusal_sent:
            self.flow.pause_reading()
        elif self._discarded > self._limits.linger_bytes:
            self.transport.close()

    # Callbacks of the parser

    def on_message_begin(self) -> None:
        if self._is_first:
            self._is_first = False
        else:
            self._moved = True
        if self._waiting >= self._limits.waiting:
            self._stop(TOO_MANY_WAITING)
        self._receiving, self._in_body, self._fields = True, False, 0
        super().on_message_begin()

    @property
    def _waiting(self) -> int:
        """Number of requests that have no answer yet, without one whose head is not complete."""
        return len(self.pipeline) + (self.cycle is not None and not self.cycle.response_complete)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields += 1
        if self._fields > self._limits.headers:
            self._stop(TRAILERS_TOO_LARGE if self._in_body else HEAD_TOO_LARGE)
        if not self._in_body:  # a trailer never becomes a header
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if self.parser.should_upgrade():
            if self.parser.get_method() == b"CONNECT":
                self._stop(MALFORMED)
            self._is_upgrade = True
            return
        super().on_headers_complete()
        self._moved = self._in_body = True
        self._fields = 0
        self.due_s = _NEVER

    def on_body(self, body: bytes) -> None:
        self._moved = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self._is_upgrade:
            return
        self._receiving = self._in_body = False
        self._moved = True
        self.due_s = _NEVER
        super().on_message_complete()
        self._forget()

    # Callback of a request that was answered

    def on_response_complete(self) -> None:
        """Begin the next request of the connection."""
        self.answered_s = self.loop.time()
        if self._in_body and not self.pipeline:
            # The application did not want the rest of the body; it may not arrive for ever.
            self.due_s = self.answered_s + self._limits.head_s
        is_last = not self.pipeline
        super().on_response_complete()
        if is_last and self._refusal:
            self._send_refusal()
        elif not self._receiving:
            self._forget()

    def _forget(self) -> None:
        """Keep nothing of a request while the connection is idle."""
        if self.cycle is not None and self.cycle.response_complete:
            self.cycle = self.scope = self.headers = None  # type: ignore[assignment]
            self.url = b""


class _Refused(Exception):
    """Stops the parser inside a callback."""
