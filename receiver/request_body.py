"""Reads the body of a request that is not verified yet, within limits."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from starlette.types import Message, Receive

from receiver.errors import Refused


@dataclass(frozen=True)
class Limits:
    """Limits on unverified requests.

    After an early refusal the endpoint reads and discards the rest of the body for a moment. A connection closed
    with unread bytes is reset, and the sender might never see the answer.

    Attributes:
        body_bytes: size of one body.
        read_timeout_s: time for a body to arrive, in seconds.
        unfinished_bytes: size of all bodies that are still arriving.
        linger_s, linger_bytes: for how long, and how many bytes are discarded after an early refusal.
    """

    body_bytes: int = 1 << 20
    read_timeout_s: float = 20.0
    unfinished_bytes: int = 64 << 20
    linger_s: float = 1.0
    linger_bytes: int = 1 << 20


class SenderGone(Exception):
    """The sender closed the connection before the body was complete."""


class BodyReader:
    """Reads the bodies of one endpoint."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._unfinished_bytes = 0

    async def read(self, receive: Receive) -> bytes:
        """Read a body.

        Raises:
            Refused: it is too large or too slow, or too much is arriving at once.
            SenderGone: the sender closed the connection.
        """
        # Like asyncio.timeout, at a fifth of its cost: this runs for every event.
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None  # noqa: S101
        alarm = loop.call_later(self._limits.read_timeout_s, task.cancel)
        try:
            body, more = _part(await receive())
            if more:
                body = await self._read_rest(body, receive)
        except asyncio.CancelledError:
            if loop.time() < alarm.when():
                raise
            task.uncancel()
            raise Refused("body-too-slow") from None
        finally:
            alarm.cancel()
        if len(body) > self._limits.body_bytes:
            raise Refused("body-too-large")
        return body

    async def _read_rest(self, first: bytes, receive: Receive) -> bytes:
        parts, size, more = [first], len(first), True
        self._unfinished_bytes += size
        try:
            while more and size <= self._limits.body_bytes:
                if self._unfinished_bytes > self._limits.unfinished_bytes:
                    raise Refused("too-much-at-once")
                part, more = _part(await receive())
                parts.append(part)
                size += len(part)
                self._unfinished_bytes += len(part)
        finally:
            self._unfinished_bytes -= size
        return b"".join(parts)

    async def discard(self, receive: Receive) -> None:
        """Read and discard the rest of a refused body, for a moment."""
        discarded = 0
        try:
            async with asyncio.timeout(self._limits.linger_s):
                more = True
                while more and discarded < self._limits.linger_bytes:
                    part, more = _part(await receive())
                    discarded += len(part)
        except (TimeoutError, SenderGone):
            pass


def _part(message: Message) -> tuple[bytes, bool]:
    if message["type"] == "http.disconnect":
        raise SenderGone
    return message["body"], message["more_body"]
