"""Pipelines script calls from many tasks over one connection. Retries nothing except NOSCRIPT.

For each call, redis-py's client takes a connection from its pool, sets two time limits and puts it back. That costs
more than a step of a drain.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from redis.exceptions import ConnectionError as ConnectionLost
from redis.exceptions import NoScriptError, ReadOnlyError, RedisError, ResponseError

from eventlog.connection.connect import end_tasks
from eventlog.errors import NotReplicated

if TYPE_CHECKING:
    from redis.asyncio.connection import AbstractConnection
    from redis.commands.core import AsyncScript

ANSWER_S = 2.0  # for one call; after it, the connection counts as lost


class Channel:
    """One connection of a client's pool, taken at the first call and again after a loss.

    Args:
        redis: the client. Closing it closes the channel too.
        route: the key that every call declares; on a cluster it names the slot.
    """

    def __init__(self, redis: Any, route: str) -> None:
        self._redis = redis
        self._route = route
        self._opening = asyncio.Lock()
        self._line: _Line | None = None

    async def call(
        self, script: AsyncScript, arguments: Sequence[Any], *, within_s: float = ANSWER_S, replicas: int = 0
    ) -> Any:
        """Run a script, and wait until `replicas` replicas have what it wrote.

        Cancelling a call leaves the others alone. A call that takes too long closes the connection for all of them,
        so that the next calls do not wait behind it.

        Raises:
            NotReplicated: it ran, but too few replicas confirmed it in time.
            redis.ResponseError: Redis refused this call.
            redis.RedisError, OSError: the connection failed, so the outcome is unknown.
            TimeoutError: there was no answer within `within_s`, so the outcome is unknown.
        """
        line = self._line
        try:
            async with asyncio.timeout(within_s):
                if line is None or line.lost:
                    line = await self._opened()
                try:
                    reply = await line.ask("EVALSHA", script.sha, 1, self._route, *arguments)
                except NoScriptError:
                    async with self._opening:  # one at a time, so that calls keep their order
                        await self._redis.script_load(script.script)
                    reply = await line.ask("EVALSHA", script.sha, 1, self._route, *arguments)
                # WAIT covers the writes of its own connection. A quarter of the time, since calls queue for replicas:
                # the next two must also learn in time that there are too few.
                if replicas and await line.ask("WAIT", replicas, int(within_s * 250)) < replicas:
                    raise NotReplicated
                return reply
        except TimeoutError:
            if line is not None:
                line.cut()
            raise
        except ReadOnlyError as refused:  # a server that refuses writes may no longer be the master
            if line is not None:
                line.cut(refused)
            raise

    async def _opened(self) -> _Line:
        async with self._opening:
            if self._line is None or self._line.lost:
                pool = self._redis.connection_pool
                self._line = _Line(pool, await pool.get_connection())
            return self._line


class _Line:
    """A connection and the callers that wait for its replies, in the order of the calls.

    Attributes:
        lost: the connection accepts no more calls, and no caller waits.
    """

    def __init__(self, pool: Any, connection: AbstractConnection) -> None:
        self.lost = False
        self._why: Exception = ConnectionLost("the connection was lost")
        self._pool = pool
        self._connection: Any = connection
        self._asked: deque[asyncio.Future[Any]] = deque()
        self._unsent: list[bytes] = []
        self._sending: asyncio.Task[None] | None = None
        # Callers set the time limit; redis-py's own would cost a task for each call.
        self._timeout_s, self._connection.socket_timeout = self._connection.socket_timeout, None
        self._loop = asyncio.get_running_loop()
        self._reading = asyncio.create_task(self._read())

    def cut(self, why: Exception | None = None) -> None:
        """Leave the connection. Calls behind this one fail for the same reason, if one is given."""
        if not self.lost:  # cancel once: the reading task gives the connection back
            self.lost = True
            self._why = why or self._why
            self._reading.cancel()

    async def ask(self, *command: Any) -> Any:
        if self.lost:
            raise self._why
        self._unsent += self._connection.pack_command(*command)  # may raise, so before it is queued
        answer = self._loop.create_future()
        self._asked.append(answer)
        if self._sending is None:
            self._sending = asyncio.create_task(self._send())
        try:
            return await answer
        finally:
            answer.cancel()  # after a loss or a cancel, no caller reads it

    async def _send(self) -> None:
        """Send the calls of one round of the event loop in one piece.

        That is one system call. With TLS it is one record too: Redis reads one at a time, and may write to its disk
        before the next.
        """
        try:
            while self._unsent:
                packed, self._unsent = b"".join(self._unsent), []
                await self._connection.send_packed_command(packed, check_health=False)
        except (RedisError, OSError) as error:  # redis-py has closed the connection and would open another
            self.cut(error)
        except BaseException:  # as above
            self.cut()
            raise
        finally:
            self._sending = None

    async def _read(self) -> None:
        try:
            while True:
                await self._read_one()
        except (RedisError, OSError) as error:
            self._why = error
        finally:
            self.lost = True
            for answer in self._asked:
                _refuse(answer, self._why)
            await self._connection.disconnect(nowait=True)
            if self._sending is not None:
                # It may wait for a server that hangs, or open the connection again for calls that were refused. The
                # pool must not have the connection before.
                await end_tasks({self._sending})
            self._connection.socket_timeout = self._timeout_s
            await self._pool.release(self._connection)

    async def _read_one(self) -> None:
        try:
            reply = await self._connection.read_response(timeout=math.inf)
        except ResponseError as refused:
            _refuse(self._asked.popleft(), refused)
        else:
            answer = self._asked.popleft()
            if not answer.done():
                answer.set_result(reply)


def _refuse(answer: asyncio.Future[Any], error: Exception) -> None:
    if not answer.done():
        answer.set_exception(error)
        answer.exception()  # mark it as seen, since its caller may have been cancelled
