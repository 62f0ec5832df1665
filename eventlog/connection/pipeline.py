"""Script calls of many tasks over one connection: none waits for another's reply before it is sent.

redis-py's client takes a connection out of its pool for each call, sets two time limits, and puts it back; for a
step of a drain that costs more than the step. It refuses to know what is called, and asks nothing twice but a
script that Redis has forgotten.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from redis.exceptions import ConnectionError as ConnectionLost
from redis.exceptions import NoScriptError, ReadOnlyError, RedisError, ResponseError

from eventlog.errors import NotReplicated

if TYPE_CHECKING:
    from redis.asyncio.connection import AbstractConnection
    from redis.commands.core import AsyncScript

ANSWER_S = 2.0  # for one call; then its connection counts as lost

_LEFT_S = 0.02  # between two looks whether nobody is sending any more


class Channel:
    """One connection of a client's pool, taken with the first call and again after it was lost.

    Args:
        redis: the client; whoever closes it closes this, too.
    """

    def __init__(self, redis: Any) -> None:
        self._redis = redis
        self._opening = asyncio.Lock()
        self._line: _Line | None = None

    async def call(
        self, script: AsyncScript, arguments: Sequence[Any], *, within_s: float = ANSWER_S, replicas: int = 0
    ) -> Any:
        """Run a script without keys, and wait until so many replicas have what it wrote.

        A call that is cancelled leaves the others alone. One that takes too long costs all of them the connection:
        whatever is asked next must not wait behind it.

        Raises:
            NotReplicated: it ran, and fewer replicas said so in time.
            redis.ResponseError: Redis refused this call.
            redis.RedisError, OSError: nothing is known of it, since the connection was lost or not made.
            TimeoutError: likewise, after `within_s`.
        """
        line = self._line
        try:
            async with asyncio.timeout(within_s):
                if line is None or line.lost:
                    line = await self._opened()
                try:
                    reply = await line.ask("EVALSHA", script.sha, 0, *arguments)
                except NoScriptError:
                    async with self._opening:  # one after the other, so that calls keep their order
                        await self._redis.script_load(script.script)
                    reply = await line.ask("EVALSHA", script.sha, 0, *arguments)
                # Over the same connection: it waits for what that one wrote. A quarter, since calls wait one behind
                # the other for replicas, and two more that find too few of them should still be told so.
                if replicas and await line.ask("WAIT", replicas, int(within_s * 250)) < replicas:
                    raise NotReplicated
                return reply
        except (TimeoutError, ReadOnlyError):  # who takes no writes may not be the master any more
            if line is not None:
                line.cut()
            raise

    async def _opened(self) -> _Line:
        async with self._opening:
            if self._line is None or self._line.lost:
                pool = self._redis.connection_pool
                self._line = _Line(pool, await pool.get_connection())
            return self._line


class _Line:
    """A connection and who waits for its replies, which come in the order of the calls.

    Attributes:
        lost: nothing can be asked any more, and nobody waits.
    """

    def __init__(self, pool: Any, connection: AbstractConnection) -> None:
        self.lost = False
        self._pool = pool
        self._connection: Any = connection
        self._asked: deque[asyncio.Future[Any]] = deque()
        self._sending = 0
        # The time limit is the caller's; redis-py's own would cost a task for each call.
        self._timeout_s, self._connection.socket_timeout = self._connection.socket_timeout, None
        self._loop = asyncio.get_running_loop()
        self._reading = asyncio.create_task(self._read())

    def cut(self) -> None:
        if not self.lost:  # once: what ends the reading has to give the connection back
            self.lost = True
            self._reading.cancel()

    async def ask(self, *command: Any) -> Any:
        if self.lost:
            raise ConnectionLost("the connection was lost")
        packed = self._connection.pack_command(*command)  # what cannot be packed gets no reply
        answer = self._loop.create_future()
        self._asked.append(answer)
        self._sending += 1
        try:
            await self._connection.send_packed_command(packed, check_health=False)
        except (
            AttributeError
        ) as error:  # Python 3.12 and later: asyncio's transport after a reset has no loop left
            self.cut()
            raise ConnectionLost("the connection was lost") from error
        except BaseException:  # redis-py has closed the connection, and would open another for the next call
            self.cut()
            raise
        finally:
            self._sending -= 1
        try:
            return await answer
        finally:
            answer.cancel()  # where sending failed or the caller was cancelled, nobody looks at it any more

    async def _read(self) -> None:
        why: Exception = ConnectionLost("the connection was lost")
        try:
            while True:
                await self._read_one()
        except (RedisError, OSError) as error:
            why = error
        finally:
            self.lost = True
            for answer in self._asked:
                _refuse(answer, why)
            await self._connection.disconnect(nowait=True)
            while self._sending:  # noqa: ASYNC110 - each will close it, and must not for whoever has it next
                await asyncio.sleep(_LEFT_S)
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
        answer.exception()  # counts as seen, though whoever asked may have been cancelled meanwhile
