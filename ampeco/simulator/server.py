"""Serves a pretend tenant on a port: API, sender and scenario in one event loop."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager

import uvicorn

from ampeco.simulator.app import create_app
from ampeco.simulator.tenant import Tenant


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the owner of the process."""
        yield


@asynccontextmanager
async def serving(
    tenant: Tenant, host: str = "127.0.0.1", port: int = 0, *, hosts: Iterable[str] = ()
) -> AsyncIterator[str]:
    """Serve in the running loop as long as the block lasts.

    Args:
        port: 0 = any free one.
        hosts: further names under which the control endpoints may be reached.

    Yields:
        The base URL, to be used as tenant URL.

    Raises:
        OSError: the address cannot be had.
    """
    config = uvicorn.Config(
        create_app(tenant, {host, *hosts}),
        lifespan="on",
        ws="none",
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=2,
    )
    with _listen(host, port) as listening:
        server = _Server(config)
        task = asyncio.create_task(server.serve(sockets=[listening]))
        try:
            while not server.started:
                if task.done():
                    await task
                    raise RuntimeError("the simulator did not start")
                await asyncio.sleep(0.005)
            shown = f"[{host}]" if ":" in host else host
            yield f"http://{shown}:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            await task


async def serve(
    tenant: Tenant,
    host: str = "127.0.0.1",
    port: int = 8090,
    *,
    on_ready: Callable[[str], None] | None = None,
    stop: asyncio.Event | None = None,
) -> None:
    """Serve until `stop` is set, or for ever.

    Args:
        on_ready: called with the base URL once requests are answered.
    """
    async with serving(tenant, host, port) as url:
        if on_ready is not None:
            on_ready(url)
        await (stop or asyncio.Event()).wait()


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio switches Nagle's algorithm off only for sockets that name their protocol; else an answer takes 40 ms.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
    except OSError:
        listening.close()
        raise
    return listening
