"""Finds the owner of a hash slot in a cluster, by asking the nodes in turn with CLUSTER SLOTS."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeAlias

from redis.exceptions import ConnectionError as ConnectionLost
from redis.exceptions import NoPermissionError, RedisError, ResponseError

from eventlog.errors import LogMismatch

Address: TypeAlias = tuple[str, int]

_NO_CLUSTER = ("cluster support disabled", "unknown command", "unknown subcommand")
_NO_OWNER = "no node names an owner of the log's slot"


class _Owner:
    """The owner of a slot as it is known, and the nodes to ask for it.

    Args:
        kind: redis-py's class of the connections that ask.
        arguments: for these connections.
    """

    def __init__(
        self, slot: int, seeds: Iterable[Address], kind: type[Any], arguments: Mapping[str, Any]
    ) -> None:
        self._slot = slot
        self._seeds = tuple(seeds)
        self._nodes = list(self._seeds)
        self._kind = kind
        self._arguments = dict(arguments)
        self._known: Address | None = None

    def forget(self, address: Address) -> None:
        """Ask again before the next connection, unless another address has been found by now."""
        if self._known == address:
            self._known = None

    def _turns(self) -> Iterator[Address]:
        """Yield each node once. The next call begins with another one: a node that is cut off names an old owner."""
        for _ in range(len(self._nodes)):
            self._nodes.append(self._nodes.pop(0))
            yield self._nodes[-1]

    def _read(self, reply: list[Any], asked: Address) -> Address | None:
        """Return the owner from the answer to CLUSTER SLOTS, and keep the nodes that it names."""
        owner, nodes = None, []
        for first, last, *members in reply:
            named = [(_text(host) or asked[0], int(port)) for host, port, *_ in members]
            nodes += named
            if first <= self._slot <= last:
                owner = named[0]
        kept = {*nodes, *self._seeds}
        order = [node for node in self._nodes if node in kept]
        self._nodes = [*order, *(node for node in dict.fromkeys(nodes) if node not in order)]
        return owner


def _text(host: bytes | None) -> str:
    """Return a node's host; empty when the node leaves it to the client ('' or '?')."""
    return "" if host in (None, b"?") else host.decode()


def _no_slots(refused: ResponseError) -> Exception:
    if isinstance(refused, NoPermissionError):
        return refused
    if any(text in str(refused).lower() for text in _NO_CLUSTER):
        return LogMismatch(
            "AWR_REDIS_URL",
            "names a server that is not a Redis Cluster, or a proxy that hides its slots",
            "write redis:// or rediss:// for a single server",
        )
    return ConnectionLost(f"the node names no owners of slots: {refused}")


class AsyncOwner(_Owner):
    """For the event loop."""

    def __init__(self, *about: Any) -> None:
        super().__init__(*about)
        self._asking = asyncio.Lock()

    async def address(self) -> Address:
        """Return the owner's address.

        Raises:
            LogMismatch: this is not a cluster.
            redis.RedisError, OSError: no node could say it.
        """
        async with self._asking:
            if self._known is None:
                self._known = await self._ask()
            return self._known

    async def _ask(self) -> Address:
        failure: Exception = ConnectionLost(_NO_OWNER)
        for host, port in self._turns():
            connection = self._kind(host=host, port=port, **self._arguments)
            try:
                await connection.connect()
                await connection.send_command("CLUSTER", "SLOTS")
                if owner := self._read(await connection.read_response(), (host, port)):
                    return owner
            except ResponseError as refused:
                failure = _no_slots(refused)
            except (RedisError, OSError) as error:
                failure = error
            finally:
                await connection.disconnect(nowait=True)
        raise failure


class BlockingOwner(_Owner):
    """For blocking callers, from several threads."""

    def __init__(self, *about: Any) -> None:
        super().__init__(*about)
        self._asking = threading.Lock()  # RQ listens for commands in a second thread

    def address(self) -> Address:
        """Return the owner's address; errors as those of `AsyncOwner`."""
        with self._asking:
            if self._known is None:
                self._known = self._ask()
            return self._known

    def _ask(self) -> Address:
        failure: Exception = ConnectionLost(_NO_OWNER)
        for host, port in self._turns():
            connection = self._kind(host=host, port=port, **self._arguments)
            try:
                connection.connect()
                connection.send_command("CLUSTER", "SLOTS")
                if owner := self._read(connection.read_response(), (host, port)):
                    return owner
            except ResponseError as refused:
                failure = _no_slots(refused)
            except (RedisError, OSError) as error:
                failure = error
            finally:
                connection.disconnect()
        raise failure
