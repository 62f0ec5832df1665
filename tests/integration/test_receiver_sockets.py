"""Listening sockets: an answer's body leaves at once, with either event loop; IPv6 alone is enough."""

import asyncio
import os
import socket
from collections.abc import Callable
from typing import Any

import pytest
import uvloop

from eventlog.connection.embedded import EmbeddedServer
from receiver.sockets import inherited_listeners, listening
from tests.door import door, read_reply


@pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop])
@pytest.mark.parametrize("inherited", [False, True])
def test_accepted_connections_do_not_delay_small_packets(
    loop_factory: Callable[[], asyncio.AbstractEventLoop], inherited: bool
) -> None:
    async def nodelay_of_accepted(listener: socket.socket) -> int:
        accepted: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        class Connection(asyncio.Protocol):
            def connection_made(self, transport: Any) -> None:
                connection = transport.get_extra_info("socket")
                accepted.set_result(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
                transport.close()

        server = await asyncio.get_running_loop().create_server(Connection, sock=listener)
        async with server, asyncio.timeout(60):
            _, writer = await asyncio.open_connection(*listener.getsockname())
            writer.close()
            return await accepted

    with asyncio.Runner(loop_factory=loop_factory) as runner, listening("127.0.0.1", 0, "AWR_PORT") as opened:
        if not inherited:
            assert runner.run(nodelay_of_accepted(opened))
            return
        with inherited_listeners(os.dup(opened.fileno()), os.dup(opened.fileno())) as (public, _):
            assert runner.run(nodelay_of_accepted(public))


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 on this machine")
def test_both_ports_answer_over_ipv6(valkey: EmbeddedServer, prefix: str) -> None:
    """As on a cluster without IPv4; `::` also takes IPv4 where there is some."""
    with door(valkey.url, prefix, {"AWR_HOST": "::", "AWR_ADMIN_HOST": "::"}) as front:
        for port in (front.port, front.admin_port):
            for address in ("::1", "127.0.0.1"):
                with socket.create_connection((address, port), timeout=10) as connection:
                    connection.sendall(b"GET /health/live HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
                    assert read_reply(connection).status == 200
