"""A log in a Redis Cluster: its URL, and clients that always talk to the owner of the log's hash slot.

All keys of one log have one hash tag, so they lie in one slot, and its owner serves all of them. A client finds the
owner with CLUSTER SLOTS. When a node answers that it does not own the slot, the client counts the connection as lost
and asks again. It never sends ASKING: a script on the target of a half-moved slot would see half of the log.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.crc import key_slot
from redis.exceptions import (
    AskError,
    ClusterDownError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as ConnectionLost
from redis.retry import Retry

from eventlog.connection import credentials, sentinel, tls
from eventlog.connection.packing import Packed, PackedConnection, PackedTLS
from eventlog.connection.pool import Pool
from eventlog.connection.slot_owner import Address, AsyncOwner, BlockingOwner
from eventlog.connection.url_parts import address, login_of, parse_options

SCHEMES = ("redis+cluster", "rediss+cluster")

_PORT = 6379
_ANSWER_S = 1.0  # for one node, before the next is asked
_TAG = re.compile(r"\{[^{}]+\}")
_NOT_OWNED = (AskError, ClusterDownError, ReadOnlyError, TryAgainError)  # MOVED is a kind of AskError
_NOT_OWNED_TEXTS = ("non local key in a cluster node", "while the cluster is down")  # from inside a script


@dataclass(frozen=True, slots=True)
class Clustered:
    """The nodes of a cluster, and the log in it.

    Attributes:
        seeds: host and port of each node that the URL names.
        prefix: of the log's keys, with a hash tag; empty if the URL names no log.
        arguments: login and TLS options, for redis-py's connections.
        tls: whether the nodes use TLS.
    """

    seeds: tuple[Address, ...]
    prefix: str
    arguments: Mapping[str, Any] = field(repr=False)
    tls: bool = False

    @property
    def slot(self) -> int:
        """Return the slot of the log."""
        if not self.prefix:
            raise ValueError("names no log; use cluster.for_log")
        return key_slot(self.prefix.encode())


def is_cluster(url: str) -> bool:
    """Return whether a URL names a cluster."""
    return url.partition("://")[0].lower() in SCHEMES


def tagged(prefix: str) -> str:
    """Return a key prefix with a hash tag: `awr:` becomes `{awr}:`, one that has a tag stays."""
    return prefix if _TAG.search(prefix) else f"{{{prefix.removesuffix(':')}}}:"


def for_log(url: str, prefix: str) -> str:
    """Return the URL for one log: `#` and the key prefix follow, from which a client knows the slot."""
    return f"{url.partition('#')[0]}#{tagged(prefix)}"


def parse(url: str) -> Clustered:
    """Parse `redis+cluster://[user:password@]host:port[,host:port...][?options]`, with `#prefix` from `for_log`.

    User and password may be percent-encoded. Options, with `rediss+cluster` only: those of TLS (`tls.OPTIONS`).

    Raises:
        ValueError: the text says what to fix. It repeats no part of the URL, since any could be part of a password.
    """
    scheme, _, rest = url.partition("://")
    rest, mark, prefix = rest.partition("#")
    if mark and not (_TAG.search(prefix) and prefix.endswith(":")):
        raise ValueError("has a '#'; percent-encode special characters in a password")
    rest, _, query = rest.partition("?")
    authority, _, path = rest.partition("/")
    if path not in ("", "0"):
        raise ValueError("must not name a database; a cluster has only database 0")
    login, _, hosts = authority.rpartition("@")
    username, _, password = login.partition(":")
    secured = scheme.lower() == SCHEMES[1]
    options = parse_options(query, tls.OPTIONS if secured else ())
    seeds = [address(host, default_port=_PORT, what="nodes") for host in hosts.split(",")]
    login_options = login_of(unquote(username), unquote(password))
    return Clustered(tuple(seeds), prefix, {**login_options, **options}, secured)


def check(url: str) -> None:
    """Check that a client can be made from a URL; raise ValueError with what to fix."""
    found = parse(url)
    if found.tls:
        tls.check(found.arguments)


def is_followed(client: Any) -> bool:
    """Return whether a client follows the owner of a slot."""
    return "owner" in client.connection_pool.connection_kwargs


def _left(refused: ResponseError) -> ConnectionLost | None:
    """Return the connection error for an answer that shows that a client must leave this node, else None."""
    if isinstance(refused, _NOT_OWNED) or any(text in str(refused) for text in _NOT_OWNED_TEXTS):
        return ConnectionLost("the node does not own the log's slot, or the slot is being moved")
    return sentinel.left(refused)


def _common(timeout_s: float, retry: Any) -> dict[str, Any]:
    return {"socket_timeout": timeout_s, "socket_connect_timeout": timeout_s, "retry": retry, "protocol": 2}


# For the event loop


class _AsyncConnection(Packed, redis.asyncio.Connection):
    """Connects to the owner. Connects again if another owner is known when the pool hands out the connection."""

    def __init__(self, *, owner: AsyncOwner, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._owner = owner

    async def connect(self) -> None:
        address = await self._owner.address()
        if self.is_connected and (self.host, self.port) != address:
            await self.disconnect(nowait=True)
        if not self.is_connected:
            self.host, self.port = address
        try:
            await super().connect()  # type: ignore[no-untyped-call]
        except (RedisError, OSError):
            self._owner.forget(address)
            raise

    async def disconnect(self, *args: Any, **options: Any) -> None:
        self._owner.forget((self.host, self.port))
        await super().disconnect(*args, **options)

    async def read_response(self, *args: Any, **options: Any) -> Any:
        try:
            return await super().read_response(*args, **options)
        except ResponseError as refused:
            if (lost := _left(refused)) is None:
                raise
            await self.disconnect(nowait=True)
            raise lost from None


class _AsyncSSLConnection(_AsyncConnection, tls.AsyncTLS):
    pass


def master(found: Clustered, *, timeout_s: float, max_connections: int) -> redis.asyncio.Redis:
    """Return a client of the current owner, without retries."""
    if found.tls:
        tls.prepare(found.arguments)
    retry = AsyncRetry(NoBackoff(), 0)
    asks: Any = PackedTLS if found.tls else PackedConnection
    asking = {**found.arguments, **_common(min(timeout_s, _ANSWER_S), retry)}
    credentials.install(asking)
    pool = Pool(
        max_connections=max_connections,
        timeout=timeout_s,
        connection_class=_AsyncSSLConnection if found.tls else _AsyncConnection,
        owner=AsyncOwner(found.slot, found.seeds, asks, asking),
        **found.arguments,
        **_common(timeout_s, retry),
    )
    credentials.install(pool.connection_kwargs)
    return redis.asyncio.Redis.from_pool(pool)


# For blocking callers


class _Connection(redis.Connection):
    def __init__(self, *, owner: BlockingOwner, **arguments: Any) -> None:
        super().__init__(**arguments)  # type: ignore[no-untyped-call]
        self._owner = owner

    def connect(self) -> None:
        address = self._owner.address()
        if self.is_connected and (self.host, self.port) != address:
            self.disconnect()
        if not self.is_connected:
            self.host, self.port = address
        try:
            super().connect()  # type: ignore[no-untyped-call]
        except (RedisError, OSError):
            self._owner.forget(address)
            raise

    def disconnect(self, *args: Any, **options: Any) -> None:
        self._owner.forget((self.host, self.port))
        super().disconnect(*args, **options)  # type: ignore[no-untyped-call]

    def read_response(self, *args: Any, **options: Any) -> Any:
        try:
            return super().read_response(*args, **options)
        except ResponseError as refused:
            if (lost := _left(refused)) is None:
                raise
            self.disconnect()
            raise lost from None


class _SSLConnection(_Connection, tls.TLS):
    pass


def master_sync(found: Clustered, *, timeout_s: float) -> redis.Redis:
    """Return a blocking client of the current owner, without retries."""
    retry = Retry(NoBackoff(), 0)
    asks = tls.TLS if found.tls else redis.Connection
    asking = {**found.arguments, **_common(min(timeout_s, _ANSWER_S), retry)}
    credentials.install(asking)
    pool = redis.ConnectionPool(
        connection_class=_SSLConnection if found.tls else _Connection,
        owner=BlockingOwner(found.slot, found.seeds, asks, asking),
        **found.arguments,
        **_common(timeout_s, retry),
    )
    credentials.install(pool.connection_kwargs)
    return redis.Redis.from_pool(pool)
