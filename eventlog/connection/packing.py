"""Packs Redis commands in C, and sends them without losing a cancel, for connections of the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import hiredis
import redis.asyncio
from redis.exceptions import ConnectionError as ConnectionLost

from eventlog.connection import tls
from eventlog.connection.refusal import SaysWhy


class Packed(SaysWhy):
    """Packs commands in C, as redis-py does for its blocking client. A batch of 256 events has 3,300 arguments."""

    def pack_command(self, *args: Any) -> list[bytes]:
        words = args[0].split() if isinstance(args[0], str) else [args[0]]
        return [hiredis.pack_command((*words, *args[1:]))]

    async def send_packed_command(self: Any, command: Any, check_health: bool = True) -> None:
        # From Python 3.12 on, asyncio's transport fails in its own ways when redis-py writes to it after a reset. It
        # has no loop any more, or it leaves its socket's number behind for the next connection.
        if self._writer is not None and self._writer.is_closing():
            await self.disconnect(nowait=True)
            raise ConnectionLost("the connection was lost")
        cancels = _cancels()
        try:
            await super().send_packed_command(command, check_health)  # type: ignore[misc]
        except Exception:
            await self._raise_swallowed(cancels)
            raise
        await self._raise_swallowed(cancels)

    async def _raise_swallowed(self: Any, before: int) -> None:
        """Raise a cancel that arrived since there were `before` of them, and was swallowed.

        Python 3.11's wait_for, with which redis-py sends, does so as a command leaves, or as that fails.
        """
        if _cancels() > before:
            await self.disconnect(nowait=True)  # the reply is not read
            raise asyncio.CancelledError

    def pack_commands(self, commands: Iterable[Iterable[Any]]) -> list[bytes]:
        return [packed for command in commands for packed in self.pack_command(*command)]


def _cancels() -> int:
    task = asyncio.current_task()
    return task.cancelling() if task else 0


class PackedConnection(Packed, redis.asyncio.Connection):
    """A connection over TCP."""


class PackedTLS(Packed, tls.AsyncTLS):
    """A connection over TLS."""
