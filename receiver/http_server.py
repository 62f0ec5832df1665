"""uvicorn as this process runs it: on given sockets, without signal handling of its own."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from receiver.bounded_http import bounded
from receiver.connections import Connections
from receiver.sockets import BACKLOG

GRACE_S = 5  # for open requests at the stop; the whole process has 8
_ACCEPTED_AT_ONCE = 8
KEEP_ALIVE_S = 75  # longer than common proxies keep a connection, so that the proxy closes it, not we


class HttpServer(uvicorn.Server):
    """A uvicorn server without signal handling: two run in one process, and the process decides when to stop."""

    def __init__(
        self, app: ASGIApp, connections: Connections, http: Callable[..., asyncio.Protocol] | None = None
    ) -> None:
        """Serve `app` within the limits of `connections`; `http` makes the protocol of each connection."""
        self._connections = connections
        protocols: Any = http or bounded(connections)
        super().__init__(
            uvicorn.Config(
                app,
                http=protocols,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=GRACE_S,
                backlog=_ACCEPTED_AT_ONCE,
            )
        )

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to accept, a few connections at a time, while the kernel keeps many.

        asyncio accepts as many at once as the backlog it is given. A flood would then push out a connection whose
        request has arrived, before it is read.
        """
        await super().startup(sockets)
        for listener in sockets or ():
            listener.listen(BACKLOG)

    async def on_tick(self, counter: int) -> bool:
        """Close overdue connections once a second. uvicorn calls this ten times a second."""
        if counter % 10 == 0:
            self._connections.sweep(asyncio.get_running_loop().time())
        return await super().on_tick(counter)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals alone."""
        yield


async def serve_until(
    app: ASGIApp, listener: socket.socket, stop: asyncio.Event, connections: Connections
) -> None:
    """Serve one application on one listening socket until `stop` is set."""
    server = HttpServer(app, connections)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    server.should_exit = True
    stopping.cancel()
    await serving
