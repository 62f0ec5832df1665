"""Redis clients with short time-outs and without automatic retries.

redis-py retries a command when a reply is lost. That is wrong for scripts that move a drain forward. The caller must
know that the outcome is unknown, and repeat the call with the same sequence number.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import Any

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from eventlog.connection import cluster, credentials, sentinel, server_url, tls
from eventlog.connection.packing import Packed, PackedConnection, PackedTLS
from eventlog.connection.pool import Pool

MAX_CONNECTIONS = 5  # what happens often goes through the one connection of a Channel

# Schemes whose clients find their server themselves.
_GUIDED: dict[str, Any] = {scheme: guide for guide in (sentinel, cluster) for scheme in guide.SCHEMES}

SCHEMES = (*server_url.SCHEMES, *_GUIDED)


def check_url(url: str) -> None:
    """Check that a client can be made from a URL. The error does not repeat it, since it may hold a password.

    Raises:
        ValueError: it cannot; the text says why.
    """
    if url.partition("://")[0].lower() not in SCHEMES:
        raise ValueError(f"scheme must be one of {', '.join(SCHEMES)}")
    guide = _guide(url)
    (guide or server_url).check(url)
    if not url.isprintable() or " " in url:
        raise ValueError("holds a blank or a character that is not printable; percent-encode it")
    if guide:
        return
    try:
        pool = redis.ConnectionPool.from_url(url)
        pool.make_connection()
    except (ValueError, TypeError, redis.RedisError):  # a TypeError is an option that redis-py does not know
        raise ValueError("not a Redis URL") from None
    if issubclass(pool.connection_class, redis.SSLConnection):
        tls.check(pool.connection_kwargs)


class _UnixConnection(Packed, redis.asyncio.UnixDomainSocketConnection):
    pass


_PACKED: dict[type, Any] = {
    redis.asyncio.Connection: PackedConnection,
    redis.asyncio.SSLConnection: PackedTLS,
    redis.asyncio.UnixDomainSocketConnection: _UnixConnection,
}


def connect(
    url: str, *, timeout_s: float = 2.0, max_connections: int = MAX_CONNECTIONS
) -> redis.asyncio.Redis:
    """Return a client for the event loop. Callers wait for a free connection instead of failing."""
    if guide := _guide(url):
        guided: redis.asyncio.Redis = guide.master(
            guide.parse(url), timeout_s=timeout_s, max_connections=max_connections
        )
        return guided
    pool: Pool = Pool.from_url(
        url,
        max_connections=max_connections,
        timeout=timeout_s,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        retry=AsyncRetry(NoBackoff(), 0),
        protocol=2,
    )
    pool.connection_class = _PACKED[pool.connection_class]
    credentials.install(pool.connection_kwargs)
    if pool.connection_class is PackedTLS:
        tls.prepare(pool.connection_kwargs)
    return redis.asyncio.Redis.from_pool(pool)


async def end_tasks(tasks: Iterable[asyncio.Task[Any]], *, within_s: float = float("inf")) -> bool:
    """Cancel tasks until all have ended, since a library or a plugin may swallow one cancel.

    Returns:
        True when some still run after `within_s`.
    """
    left, end_s = set(tasks), time.monotonic() + within_s
    while left and time.monotonic() < end_s:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=0.2)
    return bool(left)


def connect_sync(url: str, *, timeout_s: float = 5.0) -> redis.Redis:
    """Return a blocking client, for RQ and the command line."""
    if guide := _guide(url):
        guided: redis.Redis = guide.master_sync(guide.parse(url), timeout_s=timeout_s)
        return guided
    client = redis.Redis.from_url(
        url,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        retry=Retry(NoBackoff(), 0),
        protocol=2,
    )
    pool = client.connection_pool
    credentials.install(pool.connection_kwargs)
    if pool.connection_class is redis.SSLConnection:
        pool.connection_class = tls.TLS
    return client


def _guide(url: str) -> Any:
    return _GUIDED.get(url.partition("://")[0].lower())
