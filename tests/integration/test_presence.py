"""What live worker processes say is kept for seconds, and operators see it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from eventlog.log import EventLog
from eventlog.presence import LIFE_MS, Part, beat, leave, present
from handlers import Context, Event, Raw, handler
from receiver.metrics import exposition
from tests.cli import Cli
from tests.harness import VERSION, declaration, event, opened


@handler("h", on=["*"], start="oldest")
async def h(event: Event[Raw], ctx: Context) -> None:
    pass


Check = Callable[[EventLog], Awaitable[None]]


def says(log: EventLog, process: str, *lanes: int, queue: str = "default", version: str = VERSION):
    return beat(log, queue, process, 10, {"h": Part(frozenset(lanes), per_s=2.5)}, {"h": version})


def test_a_beat_shows_the_others_of_its_queue_what_is_due_and_whether_the_code_is_newest(on_each_server):
    async def check(log: EventLog) -> None:
        await log.declare([declaration(h)])
        await log.append([event("t", "session:1", n=1)])
        await says(log, "host:1:aa", 2, 3)
        await says(log, "host:9:cc", 1, queue="another")
        seen = await says(log, "host:2:bb", version="v0")
        first, second = sorted(seen.processes, key=lambda each: each.name)
        assert (first.name, first.free, first.parts) == (
            "host:1:aa",
            10,
            {"h": Part(frozenset({2, 3}), per_s=2.5)},
        )
        assert (second.label, second.parts["h"].held) == ("host:2", frozenset())
        assert seen.due == {"h": frozenset({log.lane_of("session:1", b"")})}
        assert seen.outdated == {"h"}
        assert (await says(log, "host:1:aa")).outdated == frozenset()

    on_each_server(check)


def test_a_process_that_leaves_or_falls_silent_is_gone(on_each_server):
    async def check(log: EventLog) -> None:
        await says(log, "host:1:aa", 1)
        await says(log, "host:2:bb", 2)
        await leave(log, "default", "host:1:aa")
        assert [each.label for each in await present(log)] == ["host:2"]
        await log.redis.zincrby(log.key("workers:beats"), -LIFE_MS - 1, "default|host:2:bb")
        assert await present(log) == []
        await says(log, "host:3:cc")
        assert await log.redis.hkeys(log.key("workers")) == [b"default|host:3:cc"]

    on_each_server(check)


def test_operators_see_the_pairs_of_each_live_process(capsys, monkeypatch, valkey, prefix):
    async def fill() -> None:
        async with opened(valkey.url, prefix) as log:
            await log.declare([declaration(h)])
            await says(log, "host:1:aa", 0, 1, 2)
            await says(log, "host:2:bb")
            shown = (await exposition(log)).decode()
            assert 'awr_handler_pairs{handler="h",process="host:1"} 3.0' in shown
            assert 'awr_handler_pairs{handler="h",process="host:2"} 0.0' in shown

    asyncio.run(fill())
    cli = Cli(capsys, monkeypatch, valkey.url, prefix)
    assert cli.json("handlers", "list")[0]["pairs"] == {"host:1": 3, "host:2": 0}
    assert "host:1=3 host:2=0" in cli("handlers", "list")[1]


def test_a_waiting_event_is_explained_with_the_backlog_before_it(capsys, monkeypatch, valkey, prefix):
    async def fill() -> None:
        async with opened(valkey.url, prefix) as log:
            await log.declare([declaration(h)])
            await log.append([event("t", f"session:{n}", n=n) for n in range(40)])
            await beat(log, "default", "host:1:aa", 9, {"h": Part(per_s=4_000.0)}, {"h": VERSION})
            await beat(log, "default", "host:2:bb", 9, {"h": Part(per_s=1.0)}, {"h": VERSION})

    asyncio.run(fill())
    cli = Cli(capsys, monkeypatch, valkey.url, prefix)
    assert "behind by 40, at 4,001/s: about 0 s" in cli("explain", "session:9")[1]
    assert "behind by 40" in cli.json("explain", "session:9")["events"][0]["handlers"][0]["said"]
