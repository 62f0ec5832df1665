"""Every connection of the event loop keeps a cancel, those that look for the server included."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from eventlog.connection.connect import connect
from eventlog.connection.packing import Packed
from eventlog.connection.pool import Pool


def kinds(client: Any) -> list[type]:
    """The class of the client's connections, then those of the connections that ask where the server is."""
    pool = client.connection_pool
    assert isinstance(pool, Pool)
    found = [pool.connection_class]
    if manager := getattr(pool, "sentinel_manager", None):
        found += [asked.connection_pool.connection_class for asked in manager.sentinels]
    if owner := pool.connection_kwargs.get("owner"):
        found.append(owner._kind)
    return found


@pytest.mark.parametrize(
    ("url", "count"),
    [
        ("redis://a", 1),
        ("rediss://a", 1),
        ("unix:///a.sock", 1),
        ("redis+sentinel://a,b/main", 3),
        ("rediss+sentinel://a,b/main", 3),
        ("redis+cluster://a#{awr}:", 2),
        ("rediss+cluster://a#{awr}:", 2),
    ],
)
def test_every_connection_keeps_a_cancel(url: str, count: int) -> None:
    async def check() -> None:
        async with connect(url) as client:
            found = kinds(client)
            assert len(found) == count
            assert all(issubclass(kind, Packed) for kind in found), found

    asyncio.run(check())
