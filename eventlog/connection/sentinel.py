"""A Redis behind Sentinel: its URL, and clients that always talk to the current master.

redis-py finds the master. This module adds two things. A client leaves a server that refuses writes, and asks the
sentinels again. Several callers that ask at once do not lose a sentinel from the list.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

import redis.asyncio.sentinel
import redis.sentinel
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as ConnectionLost
from redis.exceptions import ResponseError
from redis.retry import Retry

from eventlog.connection import credentials, tls
from eventlog.connection.packing import Packed, PackedConnection, PackedTLS
from eventlog.connection.pool import Pool
from eventlog.connection.url_parts import address, login_of, parse_options

SCHEMES = ("redis+sentinel", "rediss+sentinel")

_PORT = 26379
_ANSWER_S = 1.0  # for one sentinel, before the next is asked
_LOGIN = ("sentinel_username", "sentinel_password")
_NO_MASTER = ("MASTERDOWN", "UNBLOCKED")


@dataclass(frozen=True, slots=True)
class Watched:
    """The name of a master, and the sentinels that know its address.

    Attributes:
        sentinels: host and port of each.
        service: the name that the sentinels give the master.
        master: login for the master as arguments of redis-py's connections, with `db`.
        sentinel: login for the sentinels, in the same form.
        tls: whether both use TLS.
    """

    sentinels: tuple[tuple[str, int], ...]
    service: str
    master: Mapping[str, Any] = field(repr=False)
    sentinel: Mapping[str, Any] = field(repr=False)
    tls: bool = False


class TooFewReplicas(ConnectionLost):
    """The master refuses writes, because fewer replicas follow it than `min-replicas-to-write` requires."""


def parse(url: str) -> Watched:
    """Parse `redis+sentinel://[user:password@]host:port[,host:port...]/SERVICE[/DB][?options]`.

    Names and passwords may be percent-encoded. Options: `sentinel_username`, `sentinel_password`; with
    `rediss+sentinel` also those of TLS (`tls.OPTIONS`).

    Raises:
        ValueError: the text says what to fix. It repeats no part of the URL, since any could be part of a password.
    """
    scheme, _, rest = url.partition("://")
    if "#" in rest:
        raise ValueError("has a '#'; percent-encode special characters in a password")
    rest, _, query = rest.partition("?")
    authority, _, path = rest.partition("/")
    if "@" in path:
        raise ValueError("has an '@' after a '/'; percent-encode special characters in a password")
    login, _, hosts = authority.rpartition("@")
    username, _, password = login.partition(":")
    service, db = _service(path)
    secured = scheme.lower() == SCHEMES[1]
    options = parse_options(query, (*_LOGIN, *tls.OPTIONS) if secured else _LOGIN)
    certificates = {name: value for name, value in options.items() if name in tls.OPTIONS}
    return Watched(
        sentinels=tuple(address(host, default_port=_PORT, what="sentinels") for host in hosts.split(",")),
        service=service,
        master={**login_of(unquote(username), unquote(password)), "db": db, **certificates},
        sentinel={**login_of(*(options.get(name, "") for name in _LOGIN)), **certificates},
        tls=secured,
    )


def check(url: str) -> None:
    """Check that a client can be made from a URL; raise ValueError with what to fix."""
    watched = parse(url)
    if watched.tls:
        tls.check(watched.master)


def _service(path: str) -> tuple[str, int]:
    name, _, db = path.partition("/")
    if not name:
        raise ValueError(
            "names no service; end it with /SERVICE, the name that the sentinels give the master"
        )
    if db and not re.fullmatch(r"[0-9]{1,9}", db):
        raise ValueError("must end with /SERVICE or /SERVICE/DB, where DB is a number")
    return unquote(name), int(db or 0)


def left(refused: ResponseError) -> ConnectionLost | None:
    """Return the connection error for an answer that shows that a client must leave this server, else None."""
    if str(refused).startswith("NOREPLICAS"):
        return TooFewReplicas("the master has too few replicas")
    if refused.status_code in _NO_MASTER or str(refused).startswith(_NO_MASTER):
        return ConnectionLost("the server is no longer the master")
    return None


# For the event loop


class _AsyncSentinel(redis.asyncio.sentinel.Sentinel):
    async def discover_master(self, service_name: str) -> tuple[str, int]:
        """Return the address of the master. redis-py's own loses sentinels when two ask at once."""
        asked = copy.copy(self)
        asked.sentinels = list(self.sentinels)
        found: tuple[str, int] = await redis.asyncio.sentinel.Sentinel.discover_master(asked, service_name)
        self.sentinels = asked.sentinels
        return found


class _AsyncPool(redis.asyncio.sentinel.SentinelConnectionPool, Pool):
    """Asks the sentinels before it connects, and lets callers wait for a free connection."""

    async def aclose(self) -> None:
        try:
            await super().aclose()
        finally:
            await self.sentinel_manager.aclose()


class _AsyncConnection(Packed, redis.asyncio.sentinel.SentinelManagedConnection):
    async def read_response(self, *args: Any, **options: Any) -> Any:
        try:
            return await super().read_response(*args, **options)
        except ResponseError as refused:
            if (lost := left(refused)) is None:
                raise
            await self.disconnect(nowait=True)
            raise lost from None


class _AsyncSSLConnection(_AsyncConnection, tls.AsyncTLS):
    pass


def master(watched: Watched, *, timeout_s: float, max_connections: int) -> redis.asyncio.Redis:
    """Return a client of the current master, without retries. Closing it closes its sentinel connections too."""
    retry = AsyncRetry(NoBackoff(), 0)
    sentinel = _AsyncSentinel(  # type: ignore[no-untyped-call]
        watched.sentinels, sentinel_kwargs=_asking(watched, timeout_s, retry)
    )
    if watched.tls:
        tls.prepare(watched.master)
    for asked in sentinel.sentinels:
        asked.connection_pool.connection_class = PackedTLS if watched.tls else PackedConnection
    client: redis.asyncio.Redis = sentinel.master_for(
        watched.service,
        connection_pool_class=_AsyncPool,
        connection_class=_AsyncSSLConnection if watched.tls else _AsyncConnection,
        max_connections=max_connections,
        timeout=timeout_s,
        **_common(timeout_s, retry),
        **watched.master,
    )
    credentials.install(client.connection_pool.connection_kwargs)
    return client


# For blocking callers


class _Sentinel(redis.sentinel.Sentinel):
    def discover_master(self, service_name: str) -> tuple[str, int]:
        """Return the address of the master; a copy as above, because RQ listens for commands in a second thread."""
        asked = copy.copy(self)
        asked.sentinels = list(self.sentinels)
        found: tuple[str, int] = redis.sentinel.Sentinel.discover_master(  # type: ignore[no-untyped-call]
            asked, service_name
        )
        self.sentinels = asked.sentinels
        return found


class _Pool(redis.sentinel.SentinelConnectionPool):
    def close(self) -> None:
        try:
            super().close()
        finally:
            self.sentinel_manager.close()


class _Connection(redis.sentinel.SentinelManagedConnection):
    def read_response(self, *args: Any, **options: Any) -> Any:
        # redis-py's plain connection closes when a signal handler (of RQ) interrupts its wait for a reply. This kind
        # would stay open and give that reply to the next caller.
        options.setdefault("disconnect_on_error", True)
        try:
            return super().read_response(*args, **options)
        except ResponseError as refused:
            if (lost := left(refused)) is None:
                raise
            self.disconnect()  # type: ignore[no-untyped-call]
            raise lost from None


class _SSLConnection(_Connection, tls.TLS):
    pass


def master_sync(watched: Watched, *, timeout_s: float) -> redis.Redis:
    """Return a blocking client of the current master, without retries."""
    retry = Retry(NoBackoff(), 0)
    sentinel = _Sentinel(  # type: ignore[no-untyped-call]
        watched.sentinels, sentinel_kwargs=_asking(watched, timeout_s, retry)
    )
    if watched.tls:
        for asked in sentinel.sentinels:
            asked.connection_pool.connection_class = tls.TLS
    client: redis.Redis = sentinel.master_for(  # type: ignore[no-untyped-call]
        watched.service,
        connection_pool_class=_Pool,
        connection_class=_SSLConnection if watched.tls else _Connection,
        **_common(timeout_s, retry),
        **watched.master,
    )
    credentials.install(client.connection_pool.connection_kwargs)
    return client


def _asking(watched: Watched, timeout_s: float, retry: Any) -> dict[str, Any]:
    """Return the connection arguments for a sentinel."""
    return {**watched.sentinel, **_common(min(timeout_s, _ANSWER_S), retry), "ssl": watched.tls}


def _common(timeout_s: float, retry: Any) -> dict[str, Any]:
    return {
        "socket_timeout": timeout_s,
        "socket_connect_timeout": timeout_s,
        "retry": retry,
        "protocol": 2,
    }
