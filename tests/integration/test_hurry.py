"""`events hurry` ends a wait: of a lane that sleeps, and of one whose drain holds the wait in memory."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from eventlog.log import EventLog
from eventlog.operation.handlers import pause
from eventlog.operation.hurry import hurry
from handlers import Context, Event, Raw, Retry, handler
from handlers.discovery import discover
from tests.cli import Cli
from tests.harness import at_work, declaration, drained, event, eventually, opened, position, soon, worker

WAITS = """
import asyncio, os, pathlib
from handlers import Context, Event, Raw, Retry, handler

OUT = pathlib.Path(os.environ["REC_OUT"])

@handler("recorder", on=["*"], start="oldest", timeout_s=300)
async def recorder(event: Event[Raw], ctx: Context) -> None:
    with OUT.open("a") as out:
        out.write(f"{event.key} {ctx.attempt}\\n")
    if event.key == "session:slow":
        while not OUT.with_name("go").exists():
            await asyncio.sleep(0.05)
    elif ctx.attempt == 1:
        raise Retry("the vendor is closed", after_s=86_400)
"""


@handler("h", on=["*"], start="oldest")
async def waits(event: Event[Raw], ctx: Context) -> None:
    if ctx.attempt == 1 and event.payload.data["n"] == 0:
        raise Retry("not there yet", after_s=86_400)


@pytest.fixture
def cli(capsys, monkeypatch, valkey, prefix) -> Cli:
    return Cli(capsys, monkeypatch, valkey.url, prefix)


def fill(url: str, prefix: str, act: Callable[[EventLog], Any], **options: Any) -> Any:
    async def run() -> Any:
        async with opened(url, prefix, **options) as log:
            return await act(log)

    return asyncio.run(run())


@pytest.mark.parametrize("is_held", [False, True], ids=["asleep", "held"])
def test_a_running_worker_tries_again_soon(
    valkey, prefix, tmp_path: Path, monkeypatch, cli: Cli, is_held: bool
) -> None:
    out, file = tmp_path / "out", tmp_path / "waits.py"
    file.write_text(WAITS)
    monkeypatch.setenv("REC_OUT", str(out))
    found = next(item for item in discover(load=[str(file)]).found if item.handler.name == "recorder")
    keys = ["session:waits", *(["session:slow"] if is_held else [])]

    async def prepare(log: EventLog) -> None:
        await log.declare([declaration(found.handler, version=found.version)])
        await log.append([event("t", key) for key in keys])

    fill(valkey.url, prefix, prepare, lanes=1)
    with worker(valkey.url, prefix, [file], {"REC_OUT": str(out), "AWR_LANES": "1"}, tmp_path / "log"):
        lines = ["session:waits 1", *(["session:slow 1"] if is_held else [])]
        soon(lambda: out.exists() and sorted(out.read_text().splitlines()) == sorted(lines), within_s=60)

        async def as_it_should_be(log: EventLog) -> None:
            async def waits() -> bool:
                leased = await log.redis.exists(log.key("lease", "recorder", 0))
                return bool(await log.redis.zcard(log.key("opendue", "recorder", 0))) and leased == is_held

            await eventually(waits, within_s=60)

        fill(valkey.url, prefix, as_it_should_be, lanes=1)
        code, said, _ = cli("explain", "session:waits")
        assert code == 0
        assert "the vendor is closed" in said
        assert "`events hurry session:waits` ends these waits now" in said
        code, said, err = cli("events", "hurry", "session:waits")
        assert (code, err) == (0, "")
        assert "1 of 1 are due now" in said
        soon(lambda: "session:waits 2" in out.read_text())
        assert out.read_text().count("session:slow") == is_held, "its neighbour went on"
        (tmp_path / "go").touch()

        async def settled(log: EventLog) -> None:
            async def all_done() -> bool:
                return (await position(log, "recorder")).stats.get("done", 0) == len(keys)

            await eventually(all_done, within_s=60)

        fill(valkey.url, prefix, settled, lanes=1)
    assert sorted(out.read_text().splitlines()) == sorted([*lines, "session:waits 2"])


def test_several_waits_are_a_plan_first(valkey, prefix, cli: Cli) -> None:
    other = handler("other", on=["*"], start="oldest")(waits.function)

    async def prepare(log: EventLog) -> list[str]:
        await log.claim("", "")
        await log.declare([declaration(waits), declaration(other)])
        answers = (await log.append([event(n=n) for n in (0, 1)])).answers
        await drained(log, waits, other)
        await pause(log, "other", reason="", now_ms=1)
        return [str(answer.event_id) for answer in answers]

    first, parked = fill(valkey.url, prefix, prepare)
    code, said, err = cli("events", "hurry", "session:1")
    assert (code, "h  " in said, "other" in said) == (0, True, True)
    assert "add --yes" in err
    planned = cli.json("events", "hurry", "session:1")
    assert ([row["handler"] for row in planned["plan"]], planned["done"]) == (["h", "other"], False)
    told = cli.json("events", "hurry", parked, "--handler", "h")
    assert (told["plan"][0]["event"], told["plan"][0]["why"], told["done"]) == (first, "not there yet", True)
    code, said, _ = cli("events", "hurry", first, "--handler", "h")
    assert (code, "no handler waits" in said) == (0, True)
    assert "tried again at once" in cli("explain", first, "--handler", "h")[1]
    code, said, _ = cli("events", "hurry", first, "--yes")
    assert "other is paused" in said
    assert cli("events", "hurry", "session:none")[0] == 2
    assert cli("events", "hurry", first, "--handler", "nobody")[0] == 2
    assert cli("events", "hurry", "nonsense")[0] == 2

    async def finish(log: EventLog) -> None:
        await drained(log, waits)
        assert (await position(log, "h")).stats["done"] == 2
        assert (await position(log, "other")).open == 2

    fill(valkey.url, prefix, finish)


def test_only_what_waits_is_hurried_and_what_is_stored_stays(on_each_server):
    async def check(log: EventLog) -> None:
        await log.declare([declaration(waits)])
        body = {"n": 0, "text": '\n"due":5 \\', "state": "retry"}
        reply = await log.append([event(f'a"due":7,{n}', f'x:"due":{n}', **{**body, "n": n}) for n in (0, 1)])
        await drained(log, waits)
        lane, _, first = str(reply.answers[0].event_id).partition("-")
        key = log.key("open", "h", lane)
        before = await log.redis.hget(key, first)
        assert await hurry(log, "h", int(lane), [first, "5-0"]) == [True, False]
        after = await log.redis.hget(key, first)
        old, new = (json.loads(each.partition(b"\n")[0]) for each in (before, after))
        assert new == {**old, "due": 0}
        assert after.partition(b"\n")[2] == before.partition(b"\n")[2]
        await drained(log, waits, until=lambda: True)
        assert (await position(log, "h")).stats["done"] == 2
        assert await hurry(log, "h", int(lane), [first]) == [False]

    on_each_server(check)


def test_a_wait_that_begins_after_it_is_kept(with_lane):
    ran: list[int] = []

    @handler("h", on=["*"], max_attempts=99)
    async def h(event: Event[Raw], ctx: Context) -> None:
        ran.append(ctx.attempt)
        raise Retry("closed", after_s=3600)

    async def check(log: EventLog) -> None:
        await log.declare([declaration(h)])
        (answer,) = (await log.append([event("t")])).answers
        stream_id = str(answer.event_id).partition("-")[2]

        async def waits(tries: int) -> bool:
            return len(ran) == tries and bool(await log.redis.zscore(log.key("opendue", "h", 0), stream_id))

        async with at_work(log, h):
            for tries in (1, 2, 3):
                await eventually(lambda tries=tries: waits(tries))
                assert await hurry(log, "h", 0, [stream_id]) == [True]
            await eventually(lambda: waits(4))
        assert ran == [1, 2, 3, 4]
        assert (await position(log, "h")).open == 1

    with_lane(check)
