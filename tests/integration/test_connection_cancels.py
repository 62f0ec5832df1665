"""A cancelled command to Redis ends, at whatever step of the event loop the cancel arrives."""

from __future__ import annotations

import asyncio

import pytest

from eventlog.connection.connect import connect


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
