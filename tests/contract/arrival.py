"""Sends bodies to a real endpoint, and hands what arrived to handlers as a worker does."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from eventlog.inspection.events import read_counts
from tests.door import door, read_reply, signed_head
from tests.harness import declaration, drained, opened

_SENDERS = 4


def arrived(
    url: str,
    prefix: str,
    handlers: Sequence[Any],
    bodies: Collection[str],
    judge: Callable[[Any], None] = lambda found: None,
) -> None:
    """Send all bodies, each of which the endpoint must accept as an event, and run the handlers on them.

    Args:
        url: of the log's server.
        judge: called with the standing of each handler.
    """
    sent = list(bodies)

    async def declare() -> None:
        async with opened(url, prefix) as log:
            await log.declare([declaration(one) for one in handlers])

    async def handle() -> None:
        async with opened(url, prefix) as log:
            await drained(log, *handlers)
            assert (await read_counts(log)).accepted == len(sent)
            for found in await log.handlers():
                judge(found)

    asyncio.run(declare())
    with door(url, prefix) as front, ThreadPoolExecutor(_SENDERS) as senders:
        parts = [sent[start::_SENDERS] for start in range(_SENDERS)]
        answered = senders.map(lambda part: _post(front.port, part), parts)
        assert Counter(status for each in answered for status in each) == {202: len(sent)}
        assert front.metric("awr_events_quarantined_total") == 0
    asyncio.run(handle())


def _post(port: int, bodies: Sequence[str]) -> list[int]:
    statuses = []
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        for text in bodies:
            body = text.encode()
            connection.sendall(signed_head(body) + body)
            statuses.append(read_reply(connection).status)
    return statuses
