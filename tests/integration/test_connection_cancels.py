"""A cancelled command to Redis ends, at each step of the event loop at which the cancel can arrive."""

from __future__ import annotations

import asyncio
import errno
import threading
from collections.abc import Iterator

import pytest
import redis

from eventlog.connection import credentials
from eventlog.connection.connect import connect


@pytest.fixture
def user(valkey, prefix) -> Iterator[str]:
    """A user of the server, who logs in with the password "word"."""
    name = prefix.rstrip(":")
    with redis.Redis.from_url(valkey.url) as client:
        client.execute_command("ACL", "SETUSER", name, "on", ">word", "~*", "&*", "+@all")
        yield name
        client.execute_command("ACL", "DELUSER", name)


@pytest.mark.parametrize("steps", range(1, 16))
def test_a_command_that_is_cancelled_ends_and_leaves_no_reply_behind(valkey, prefix, steps):
    async def cancelled() -> bool:
        async with connect(valkey.url, max_connections=1) as redis:
            await redis.ping()  # connected, so that all steps are those of sending
            reading = asyncio.create_task(redis.xread({f"{prefix}none": "$"}, block=500))
            for _ in range(steps):
                await asyncio.sleep(0)
            reading.cancel()
            await asyncio.wait({reading})
            assert await redis.echo("next") == b"next"
            return reading.cancelled()

    assert asyncio.run(cancelled())


@pytest.mark.parametrize("steps", range(1, 8))
def test_a_command_that_is_cancelled_as_it_fails_to_leave_ends_as_cancelled(valkey, steps):
    async def broken() -> None:
        raise ConnectionResetError(errno.ECONNRESET, "reset")

    async def check() -> None:
        async with connect(valkey.url, max_connections=1) as client:
            await client.ping()
            (connection,) = client.connection_pool._available_connections
            connection._writer.drain = broken
            sending = asyncio.create_task(client.ping())
            for _ in range(steps):
                await asyncio.sleep(0)
            expected = redis.ConnectionError if sending.done() else asyncio.CancelledError
            sending.cancel()
            (ended,) = await asyncio.gather(sending, return_exceptions=True)
            assert type(ended) is expected
            assert await client.echo("next") == b"next"

    asyncio.run(check())


@pytest.mark.parametrize("steps", range(5))
def test_a_caller_that_is_woken_and_cancelled_lets_the_next_one_have_the_connection(valkey, steps):
    async def check() -> None:
        async with connect(valkey.url, timeout_s=10, max_connections=1) as client:
            pool = client.connection_pool
            held = await pool.get_connection()
            first, second = (asyncio.create_task(client.echo(word)) for word in ("first", "second"))
            for _ in range(5):
                await asyncio.sleep(0)  # both wait
            await pool.release(held)
            for _ in range(steps):
                await asyncio.sleep(0)
            first.cancel()
            assert await second == b"second"

    asyncio.run(check())


def test_a_cancel_during_the_login_leaves_no_connection_without_user_and_database(valkey, user):
    asked, answers = threading.Event(), threading.Event()

    def login() -> tuple[str, str]:
        asked.set()
        answers.wait(60)
        return user, "word"

    async def check() -> None:
        async with connect(f"{valkey.url}?db=1", max_connections=1) as client:
            first = asyncio.create_task(client.ping())
            await asyncio.to_thread(asked.wait, 60)
            first.cancel()
            await asyncio.wait({first})
            answers.set()
            assert first.cancelled()
            for _ in range(2):
                assert await client.execute_command("ACL", "WHOAMI") == user.encode()
                assert b" db=1 " in await client.execute_command("CLIENT", "INFO")

    credentials.use(login)
    try:
        asyncio.run(check())
    finally:
        answers.set()
        credentials.use(None)
