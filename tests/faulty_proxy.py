"""A TCP proxy in front of a Redis.

It loses replies of commands that the server carried out, cuts connections, and holds all traffic back for a while.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
from collections.abc import Iterator


class FaultyProxy:
    """Forwards to a unix socket; while `faulty`, about one reply in `one_in` is dropped with its connection.

    Attributes:
        faulty, one_in: may be changed at any time.
        dropped: replies lost so far.
    """

    def __init__(self, socket_path: str, *, seed: int, one_in: int) -> None:
        self._socket_path = socket_path
        self._random = random.Random(seed)
        self._clients: set[asyncio.StreamWriter] = set()
        self.one_in = one_in
        self.faulty = True
        self.dropped = 0
        self.port = 0

    def reset(self) -> None:
        """Cut every connection; what was under way may have arrived or not. For other threads, as `stall`."""
        self._loop.call_soon_threadsafe(self._cut)

    def stall(self, held: bool) -> None:
        """Let nothing through any more, or again; meanwhile connections are still taken."""
        self._loop.call_soon_threadsafe(self._through.clear if held else self._through.set)

    def _cut(self) -> None:
        for client in self._clients:
            _abort(client)

    async def serve(self, started: threading.Event, stop: asyncio.Event) -> None:
        self._loop = asyncio.get_running_loop()
        self._through = asyncio.Event()
        self._through.set()
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        started.set()
        await stop.wait()
        # A connection that asyncio is accepting when the server closes would stay open until it is collected.
        for listening in server.sockets:
            self._loop.remove_reader(listening.fileno())
        while connected := asyncio.all_tasks() - {asyncio.current_task()}:
            self._through.set()
            self._cut()
            await asyncio.wait(connected, timeout=0.05)
        server.close()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            up_reader, up_writer = await asyncio.open_unix_connection(self._socket_path)
        except OSError:
            writer.close()
            return
        self._clients.add(writer)
        try:
            await asyncio.gather(self._forward(reader, up_writer), self._answer(up_reader, writer))
        finally:
            self._clients.discard(writer)
            _abort(writer)  # also when the proxy ends with connections open
            _abort(up_writer)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 16):
                await self._through.wait()
                writer.write(data)
                await writer.drain()
        writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 16):
                await self._through.wait()
                if self.faulty and self._random.randrange(self.one_in) == 0:
                    self.dropped += 1
                    break
                writer.write(data)
                await writer.drain()
        writer.close()


def _abort(writer: asyncio.StreamWriter) -> None:
    # A transport that closed after it wrote its buffer has no loop left, and abort() of Python 3.12 uses it.
    with contextlib.suppress(AttributeError):
        writer.transport.abort()


@contextlib.contextmanager
def proxied(socket_path: str, *, seed: int, one_in: int) -> Iterator[FaultyProxy]:
    """A running proxy; its URL is `redis://127.0.0.1:<port>`."""
    proxy = FaultyProxy(socket_path, seed=seed, one_in=one_in)
    started = threading.Event()
    stops: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def run() -> None:
        stop = asyncio.Event()
        stops.append((asyncio.get_running_loop(), stop))
        await proxy.serve(started, stop)

    thread = threading.Thread(target=asyncio.run, args=(run(),), daemon=True)
    thread.start()
    assert started.wait(60)
    try:
        yield proxy
    finally:
        loop, stop = stops[0]
        loop.call_soon_threadsafe(stop.set)
        thread.join(60)
