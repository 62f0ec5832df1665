"""Finds out why a server closed a new connection, and closes one whose login did not end.

A server with too many clients says so and closes the connection at once. redis-py then fails to send its first
command and reports a lost connection. A second connection that sends nothing can read what the server says.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from redis.exceptions import ConnectionError as ConnectionLost

_LISTEN_S = 0.2


class SaysWhy:
    """Raises what the server says, where a new connection of the event loop is closed at once."""

    async def on_connect_check_health(self, check_health: bool = True) -> None:
        try:
            await super().on_connect_check_health(check_health)  # type: ignore[misc]
        except ConnectionLost as lost:
            if isinstance(lost.__cause__ or lost.__context__, OSError):
                said = await self._first_words()
                if said.startswith("-"):
                    raise ConnectionLost(said[1:]) from lost
            raise
        except BaseException:
            # redis-py closes it after its own errors only. A cancelled login would leave the next caller a connection
            # without its user and its database.
            await self.disconnect(nowait=True)  # type: ignore[attr-defined]
            raise

    async def _first_words(self: Any) -> str:
        """Return what the server says without being asked; empty if it says nothing."""
        path = getattr(self, "path", None)
        with contextlib.suppress(OSError):  # a time-out, too
            async with asyncio.timeout(_LISTEN_S):
                reader, writer = (
                    await asyncio.open_unix_connection(path)
                    if path
                    else await asyncio.open_connection(**self._connection_arguments())
                )
                try:
                    return str((await reader.readline()).decode(errors="replace").strip())
                finally:
                    writer.close()
        return ""
