"""Script calls of many tasks over one connection: if one fails, the others still get their own replies."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import random
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from redis.exceptions import ConnectionError as ConnectionLost
from redis.exceptions import RedisError, ResponseError

from eventlog.connection.pipeline import Channel
from eventlog.errors import LeaseLost
from eventlog.lease import Lease, Settlement, clock_s
from eventlog.log import EventLog
from eventlog.registry import Declaration
from tests.faulty_proxy import FaultyProxy, proxied
from tests.harness import opened

ECHO = "#!lua flags=allow-oom\nredis.call('INCR', ARGV[2]) return ARGV[1]"
LOOKS = "#!lua flags=allow-oom\nreturn redis.call('GET', ARGV[1])"
FAILS = "#!lua flags=allow-oom\nreturn redis.error_reply('BAD it was refused')"

Check = Callable[[Any, Channel, Callable[..., Awaitable[Any]]], Awaitable[None]]


@pytest.fixture
def with_channel(valkey, prefix) -> Callable[[Check], None]:
    """Run a check with a client, a channel, and a call of ECHO that counts how often it ran."""

    def run(check: Check) -> None:
        async def opened_and_checked() -> None:
            async with opened(valkey.url, prefix) as log:
                echo = log.redis.register_script(ECHO)

                def call(what: str, within_s: float = 5.0) -> Awaitable[Any]:
                    return log.channel.call(echo, [what, log.key("ran")], within_s=within_s)

                await check(log.redis, log.channel, call)

        asyncio.run(opened_and_checked())

    return run


async def held(client: Any) -> None:
    """From now on the server takes scripts and does not answer them, until `CLIENT UNPAUSE`."""
    await client.execute_command("CLIENT", "PAUSE", 10_000, "WRITE")


async def let_go(client: Any) -> None:
    await client.execute_command("CLIENT", "UNPAUSE")


async def connections(client: Any) -> int:
    return int((await client.info("stats"))["total_connections_received"])


def test_each_caller_gets_its_own_reply_over_one_connection(with_channel):
    async def check(client: Any, channel: Channel, call: Any) -> None:
        await call("first")
        before = await connections(client)
        replies = await asyncio.gather(*(call(str(n)) for n in range(200)))
        assert replies == [b"%d" % n for n in range(200)]
        assert await connections(client) == before

    with_channel(check)


def test_a_script_that_redis_forgot_is_loaded_again_and_others_do_not_notice(with_channel):
    async def check(client: Any, channel: Channel, call: Any) -> None:
        looks = client.register_script(LOOKS)
        await client.set("known", "yes")
        await client.script_flush()
        calls = [call("a"), channel.call(looks, ["known"], within_s=5.0), call("b")]
        assert await asyncio.gather(*calls) == [b"a", b"yes", b"b"]

    with_channel(check)


def test_a_refused_call_is_the_only_one_that_fails(with_channel):
    async def check(client: Any, channel: Channel, call: Any) -> None:
        fails = client.register_script(FAILS)
        calls = [call("a"), channel.call(fails, [], within_s=5.0), call("b")]
        one, refused, other = await asyncio.gather(*calls, return_exceptions=True)
        assert (one, other) == (b"a", b"b")
        assert isinstance(refused, ResponseError)
        assert "it was refused" in str(refused)

    with_channel(check)


def test_a_call_that_cannot_be_sent_shifts_nobody_elses_reply(with_channel):
    async def check(client: Any, channel: Channel, call: Any) -> None:
        await call("first")
        with pytest.raises(UnicodeEncodeError):
            await call("lone surrogate \ud800")
        assert [await call("a"), await call("b")] == [b"a", b"b"]

    with_channel(check)


@pytest.mark.parametrize("rounds", [1, 2])  # of the loop: it has called; what it called for was sent
def test_a_caller_that_is_cancelled_takes_nobody_elses_reply(with_channel, rounds):
    async def check(client: Any, channel: Channel, call: Any) -> None:
        await call("first")
        await held(client)
        waiting = [asyncio.create_task(call(str(n))) for n in range(3)]
        for _ in range(rounds):
            await asyncio.sleep(0)
        waiting[1].cancel()
        await let_go(client)
        replies = await asyncio.gather(*waiting, return_exceptions=True)
        assert replies[0] == b"0"
        assert isinstance(replies[1], asyncio.CancelledError)
        assert replies[2] == b"2"
        assert await call("later") == b"later"

    with_channel(check)


def test_a_call_that_takes_too_long_costs_all_the_connection_and_the_next_gets_a_new_one(with_channel):
    async def check(client: Any, channel: Channel, call: Any) -> None:
        await call("first")
        await held(client)
        late, patient = await asyncio.gather(call("late", 0.05), call("patient"), return_exceptions=True)
        assert isinstance(late, TimeoutError)
        assert isinstance(patient, ConnectionLost)
        await let_go(client)
        assert await asyncio.gather(call("a"), call("b")) == [b"a", b"b"]

    with_channel(check)


def test_a_connection_that_is_cut_is_told_to_everybody_at_once(with_channel):
    async def check(client: Any, channel: Channel, call: Any) -> None:
        await call("first")
        await held(client)
        waiting = [asyncio.create_task(call(str(n))) for n in range(3)]
        await asyncio.sleep(0)
        await client.execute_command("CLIENT", "KILL", "TYPE", "NORMAL", "SKIPME", "YES")
        replies = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(reply) for reply in replies] == [ConnectionLost] * 3
        await let_go(client)
        assert await call("later") == b"later"

    with_channel(check)


@pytest.mark.parametrize("turns", [0, 1])  # of the loop, until the transport is done with the reset
def test_a_call_on_a_connection_that_was_just_reset_is_refused_as_lost(with_channel, turns):
    async def check(client: Any, channel: Channel, call: Any) -> None:
        await call("first")
        assert channel._line is not None
        transport = channel._line._connection._writer.transport
        transport.abort()
        for _ in range(turns):
            await asyncio.sleep(0)
        with pytest.raises(ConnectionLost):
            await call("lost")
        assert [await call(str(n)) for n in range(3)] == [b"0", b"1", b"2"]

    with_channel(check)


def test_calls_of_one_round_of_the_loop_are_sent_in_one_piece(with_channel):
    """With TLS each piece is a record of its own, which Redis reads by itself."""

    async def check(client: Any, channel: Channel, call: Any) -> None:
        await call("first")
        assert channel._line is not None
        writer = channel._line._connection._writer
        write, pieces = writer.writelines, []

        def noted(data: list[bytes]) -> None:
            pieces.extend(data)
            write(data)

        writer.writelines = noted
        assert await asyncio.gather(*(call(str(n)) for n in range(50))) == [b"%d" % n for n in range(50)]
        assert len(pieces) == 1

    with_channel(check)


def test_a_call_that_was_not_sent_before_the_loss_is_never_sent(with_channel):
    """Else its reply would wait in the pool's connection for the next caller."""

    async def check(client: Any, channel: Channel, call: Any) -> None:
        async def scripts_run() -> int:
            return int((await client.info("commandstats"))["cmdstat_evalsha"]["calls"])

        await call("first")
        line, before = channel._line, await scripts_run()
        assert line is not None
        lost = asyncio.create_task(call("lost"))
        line._connection._reader.feed_eof()  # in one round of the loop, after the call and before it is sent
        with pytest.raises(ConnectionLost):
            await lost
        await line._reading
        assert not line._connection.is_connected
        assert await scripts_run() == before
        assert await call("later") == b"later"

    with_channel(check)


def test_a_connection_to_a_server_that_reads_nothing_goes_back_to_the_pool_after_the_time_limit(
    valkey, prefix
):
    async def check(proxy: FaultyProxy) -> None:
        async with opened(f"redis://127.0.0.1:{proxy.port}", prefix) as log:
            echo = log.redis.register_script(ECHO)
            await log.channel.call(echo, ["first", log.key("ran")], within_s=5.0)
            line = log.channel._line
            assert line is not None
            proxy.stall(True)
            with pytest.raises(TimeoutError):
                await log.channel.call(echo, ["x" * 30_000_000, log.key("ran")], within_s=0.5)
            ended, _ = await asyncio.wait({line._reading}, timeout=5)  # what it does last is to give it back
            assert ended
            proxy.reset()
            proxy.stall(False)
            assert await log.channel.call(echo, ["later", log.key("ran")], within_s=5.0) == b"later"

    with proxied(valkey.url.removeprefix("unix://"), seed=1, one_in=4) as proxy:
        proxy.faulty = False
        asyncio.run(check(proxy))


def test_calls_at_the_same_time_open_one_connection(with_channel):
    async def check(client: Any, channel: Channel, call: Any) -> None:
        before = await connections(client)
        await asyncio.gather(*(call(str(n)) for n in range(50)))
        assert await connections(client) == before + 1

    with_channel(check)


def test_steps_of_many_lanes_whose_replies_are_lost_are_each_applied_once(valkey, prefix):
    """The server carried out several steps at once, and all their replies were lost."""
    lanes, rounds = 4, 20

    async def check(url: str, proxy: Any) -> None:
        async with opened(url, prefix, lanes=lanes) as log:
            await log.declare([Declaration("h", "v1", ("A",), "default", "entity", "oldest")])
            leases = [Lease(log, "h", lane, "default") for lane in range(lanes)]
            for lease in leases:
                assert await lease.take() is not None
            proxy.faulty = True
            for _ in range(rounds):
                await asyncio.gather(*(lease.step(Settlement(stats={"done": 1})) for lease in leases))
            proxy.faulty = False
            assert proxy.dropped > 0
            (found,) = await log.handlers()
            assert found.stats == {"done": lanes * rounds}

    with proxied(valkey.url.removeprefix("unix://"), seed=11, one_in=4) as proxy:
        proxy.faulty = False
        asyncio.run(check(f"redis://127.0.0.1:{proxy.port}", proxy))


def test_a_lease_at_its_end_leaves_the_connection_to_the_other_lanes(with_log):
    async def check(log: EventLog) -> None:
        await log.declare([Declaration("h", "v1", ("A",), "default", "entity", "oldest")])
        ending, other = (Lease(log, "h", lane, "default") for lane in range(2))
        for lease in (ending, other):
            assert await lease.take() is not None
        await held(log.redis)
        ending.deadline_s = clock_s() + 0.05
        waiting = asyncio.create_task(other.step(Settlement()))
        with pytest.raises(LeaseLost):
            await ending.step(Settlement())
        await let_go(log.redis)
        await waiting
        assert (ending.interrupted, other.interrupted) == (1, 0)

    with_log(check)


def test_a_proxy_that_ends_while_connections_arrive_leaves_none_open(valkey):
    """Else the collector complains, during whichever test runs then."""
    for _ in range(5):
        with proxied(valkey.url.removeprefix("unix://"), seed=1, one_in=4) as proxy:
            arriving = [socket.create_connection(("127.0.0.1", proxy.port)) for _ in range(3)]
        for connection in arriving:
            connection.close()
    gc.collect()


def test_in_a_storm_of_cuts_and_cancels_every_reply_is_its_own_and_only_redis_is_to_blame(valkey, prefix):
    """Large calls are cancelled while they are sent, connections reset and stalled, and others use the same pool."""
    chance, right = random.Random(5), 0

    async def storm(proxy: FaultyProxy) -> None:
        async with opened(f"redis://127.0.0.1:{proxy.port}", prefix) as log:
            echo = log.redis.register_script(ECHO)

            async def caller(number: int) -> None:
                nonlocal right
                while right < 400:
                    said = f"{number}-{right}-" + "x" * chance.choice([0, 10, 200_000])
                    with contextlib.suppress(RedisError, OSError):
                        called = log.channel.call(
                            echo, [said, log.key("ran")], within_s=chance.choice([0.005, 0.05, 0.5])
                        )
                        assert await called == said.encode()
                        right += 1
                    await asyncio.sleep(0.001)

            async def canceller() -> None:
                while right < 400:
                    large = asyncio.create_task(log.channel.call(echo, ["y" * 1_000_000, "k"], within_s=1))
                    await asyncio.sleep(chance.random() * 0.01)
                    large.cancel()
                    await asyncio.gather(large, return_exceptions=True)

            async def client() -> None:
                while right < 400:
                    with contextlib.suppress(RedisError, OSError):
                        assert await log.redis.echo(f"{right}") is not None
                    await asyncio.sleep(0.001)

            async def striker() -> None:
                while right < 400:
                    await asyncio.sleep(0.05)
                    if chance.random() < 0.7:
                        proxy.reset()
                    else:
                        proxy.stall(True)
                        await asyncio.sleep(0.05)
                        proxy.stall(False)

            async with asyncio.timeout(60), asyncio.TaskGroup() as group:
                for number in range(16):
                    group.create_task(caller(number))
                for other in (canceller(), canceller(), client(), striker()):
                    group.create_task(other)

    with proxied(valkey.url.removeprefix("unix://"), seed=3, one_in=200) as proxy:
        asyncio.run(storm(proxy))
