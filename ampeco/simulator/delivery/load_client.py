"""POSTs over kept-alive HTTP/1.1 connections, and nothing else HTTP can do.

It exists in addition to httpx2 because a load source has to outrun what it loads: 0.1 ms of CPU per request here,
0.8 to 1.2 ms there. It knows nothing of notifications or signatures, and throws response bodies away.
"""

import asyncio
import ssl
from collections import defaultdict
from collections.abc import Mapping
from functools import cache, lru_cache
from typing import NamedTuple, cast
from urllib.parse import urlsplit

import httptools

_FINAL = 200  # below: interim answers


class NoAnswer(Exception):
    """The connection ended, or spoke no HTTP, after the request was sent and before its answer."""


class Target(NamedTuple):
    """A URL in the parts a connection needs."""

    secure: bool
    host: str
    port: int
    request_head: bytes

    @classmethod
    def of(cls, url: str) -> "Target":
        """Take an http or https URL apart.

        Raises:
            ValueError: it is none, or holds characters that do not belong into a request line.
        """
        if not url.isascii() or not url.isprintable() or " " in url:
            raise ValueError("a URL holds printable ASCII and no spaces")
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or "@" in parts.netloc:
            raise ValueError("not a plain http or https URL")
        secure = parts.scheme == "https"
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        head = f"POST {path} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
        return cls(secure, parts.hostname, parts.port or (443 if secure else 80), head.encode())


class Connections:
    """Posts, and keeps connections for the next post."""

    def __init__(self) -> None:
        self._idle: defaultdict[tuple[bool, str, int], list[_Connection]] = defaultdict(list)
        self._target = lru_cache(maxsize=64)(Target.of)

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> int:
        """Send one POST.

        Returns:
            The status of the answer.

        Raises:
            OSError: no connection, so nothing was sent.
            NoAnswer: sent, and no answer came.
        """
        target = self._target(url)
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        request = b"%b%bContent-Length: %d\r\n\r\n%b" % (target.request_head, lines.encode(), len(body), body)
        if (connection := self._take(target)) is not None:
            try:
                return await self._ask(target, connection, request)
            except NoAnswer:  # most likely it was closed while idle: a fresh one tells
                pass
        return await self._ask(target, await _connect(target), request)

    def close(self) -> None:
        """Close what is kept."""
        for connections in self._idle.values():
            for connection in connections:
                connection.close()
        self._idle.clear()

    def _take(self, target: Target) -> "_Connection | None":
        idle = self._idle[target[:3]]
        while idle:
            connection = idle.pop()
            if connection.reusable:
                return connection
        return None

    async def _ask(self, target: Target, connection: "_Connection", request: bytes) -> int:
        try:
            status = await connection.ask(request)
        except BaseException:
            connection.close()
            raise
        if connection.reusable:
            self._idle[target[:3]].append(connection)
        else:
            connection.close()
        return status


async def _connect(target: Target) -> "_Connection":
    loop = asyncio.get_running_loop()
    context = _trusted() if target.secure else None
    try:
        _, connection = await loop.create_connection(_Connection, target.host, target.port, ssl=context)
    except UnicodeError as error:  # a host name that IDNA refuses
        raise OSError("the host name cannot be resolved") from error
    return connection


@cache
def _trusted() -> ssl.SSLContext:
    return ssl.create_default_context()


class _Connection(asyncio.Protocol):
    """One connection; at most one request is under way on it."""

    def __init__(self) -> None:
        self.reusable = False
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[int] | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._head_complete = False

    async def ask(self, request: bytes) -> int:
        if self._transport is None or self._transport.is_closing():
            raise NoAnswer
        self.reusable = False
        self._head_complete = False
        self._parser = httptools.HttpResponseParser(self)
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._answer

    def close(self) -> None:
        self.reusable = False
        if self._transport is not None:
            self._transport.abort()

    # -- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one in all but name

    def data_received(self, data: bytes) -> None:
        if self._answer is None or self._answer.done():  # unexpected: no request is open
            self.close()
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._fail()
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.reusable = False
        if exc is None and self._head_complete:  # an answer without a length ends with its connection
            self._succeed(self._parser.get_status_code())
        else:
            self._fail()

    # -- httptools

    def on_headers_complete(self) -> None:
        self._head_complete = self._parser.get_status_code() >= _FINAL

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        if status >= _FINAL:
            self.reusable = self._parser.should_keep_alive()
            self._succeed(status)

    def _succeed(self, status: int) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(status)

    def _fail(self) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(NoAnswer())
