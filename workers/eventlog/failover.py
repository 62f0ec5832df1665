"""Whether a master that Sentinel replaces could go on taking events that nobody will ever see."""

from __future__ import annotations

import redis.asyncio
from redis.asyncio.sentinel import SentinelConnectionPool


async def unguarded_master(client: redis.asyncio.Redis) -> str | None:
    """What the present master lacks, in a few words.

    A master that is cut off from the others does not know that it was replaced. It refuses writes then only where
    `min-replicas-to-write` (with a `min-replicas-max-lag`) tells it to.

    Returns:
        None when it is told to, and for a client that no sentinel guides.

    Raises:
        redis.RedisError: it could not be asked.
    """
    if not isinstance(client.connection_pool, SentinelConnectionPool):
        return None
    found = await client.info("replication")  # CONFIG may be forbidden, this is not
    return None if "min_slaves_good_slaves" in found else "min-replicas-to-write is 0"
