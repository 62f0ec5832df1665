"""What looking at the lag takes from Redis with a large backlog: numbers, and no events."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections import Counter

from prometheus_client.parser import text_string_to_metric_families

from eventlog.log import EventLog
from receiver.metrics import KEPT_S, LogExposition
from tests.cli import Cli
from tests.harness import event, opened
from tests.integration.test_lag import wants

HANDLERS, LANES, WAITING = 20, 16, 1_000_000
FILL_AT_ONCE = 2_500
MOST_BYTES = 100_000

# Small events, since only their number matters here, counted as the append script counts.
FILL = """
for i = 1, tonumber(ARGV[2]) do
  local type_name = i % 2 == 0 and 'A' or 'B'
  redis.call('XADD', ARGV[1] .. 'events:' .. ARGV[3], '*', 'v', '1', 't', type_name, 'k', '', 'b', '{}', 'r', '1')
end
for type_name, by in pairs({A = 0.5, B = 0.5, [''] = 1}) do
  redis.call('HINCRBY', ARGV[1] .. 'added', ARGV[3] .. '|' .. type_name, ARGV[2] * by)
end
"""


async def fill(log: EventLog, waiting: int) -> None:
    await log.declare([wants(f"h{n}", "A" if n % 2 else "*") for n in range(HANDLERS)])
    script = log.redis.register_script(FILL)
    for _ in range(waiting // LANES // FILL_AT_ONCE):
        await script(args=[log.prefix, FILL_AT_ONCE, 0])
    added = await log.redis.hgetall(log.key("added"))
    for lane in range(1, LANES):
        await log.redis.copy(log.key("events", 0), log.key("events", lane))
        copied = {name.replace(b"0|", b"%d|" % lane): count for name, count in added.items()}
        await log.redis.hset(log.key("added"), mapping=copied)


async def standing(log: EventLog) -> tuple[Counter[str], int]:
    """Commands that Redis ran so far, and bytes that it sent; asking costs a little, too."""
    stats = await log.redis.info("commandstats")
    commands = Counter({name.removeprefix("cmdstat_"): of["calls"] for name, of in stats.items()})
    return commands, (await log.redis.info("stats"))["total_net_output_bytes"]


def test_looking_takes_little_however_many_events_wait(server, capsys, monkeypatch):
    prefix = "cost:"

    async def check() -> None:
        async with opened(server.url, prefix, lanes=LANES) as log:
            await fill(log, WAITING)
            commands, sent = await standing(log)
            shown = values(await LogExposition(log)())
            judge(commands, sent, *await standing(log))
            assert shown["awr_handler_waiting", "h0"] == WAITING
            assert shown["awr_handler_waiting", "h1"] == WAITING // 2
            assert shown["awr_handler_waiting_exact", "h1"] == shown["awr_handler_waiting_exact", "h0"] == 1
            assert shown["awr_handler_oldest_event_age_exact", "h0"] == 1
            assert 0 < shown["awr_handler_oldest_event_age_seconds", "h1"] < 3_600

            commands, sent = await standing(log)
            code, out, err = await asyncio.to_thread(cli, "handlers", "list", "--json")
            judge(commands, sent, *await standing(log))
            assert code == 0, err
            rows = {row["name"]: row for row in json.loads(out)}
            assert (rows["h0"]["waiting"], rows["h0"]["waiting_is_exact"]) == (WAITING, True)
            assert (rows["h1"]["waiting"], rows["h1"]["oldest_is_exact"]) == (WAITING // 2, False)

    cli = Cli(capsys, monkeypatch, server.url, prefix)
    monkeypatch.setenv("AWR_LANES", str(LANES))
    asyncio.run(check())


def values(exposition: bytes) -> dict[tuple[str, str], float]:
    families = text_string_to_metric_families(exposition.decode())
    samples = (sample for family in families for sample in family.samples)
    return {(sample.name, sample.labels.get("handler", "")): sample.value for sample in samples}


def judge(before: Counter[str], sent_before: int, after: Counter[str], sent: int) -> None:
    assert sent - sent_before <= MOST_BYTES
    ran = after - before
    assert ran["xrange"] <= HANDLERS * LANES, "one entry per pair tells its age, inside the script"
    assert ran.total() <= HANDLERS * LANES * 7


def test_many_scrapes_at_once_are_one_and_its_answer_is_kept_for_a_moment(valkey, prefix):
    now_s = 100.0

    async def check() -> None:
        nonlocal now_s
        async with opened(valkey.url, prefix) as log:
            await log.declare([wants("h", "A")])
            exposition = LogExposition(log, clock=lambda: now_s)
            before, _ = await standing(log)
            shown = await asyncio.gather(*(exposition() for _ in range(20)))
            await log.append([event("A")])
            now_s += KEPT_S - 0.1
            assert {*shown, await exposition()} == {shown[0]}
            now_s += 0.2
            assert b'awr_handler_waiting{handler="h"} 1.0' in await exposition()
            after, _ = await standing(log)
            assert after["xlen"] - before["xlen"] == 2, "each scrape asks for the dead letters once"

    asyncio.run(check())


def test_scrapes_that_wait_for_the_same_read_fail_together(server):
    async def check() -> None:
        async with opened(server.url, "down:") as log:
            exposition = LogExposition(log)
            os.kill(server.pid, signal.SIGSTOP)
            failed = await asyncio.gather(*(exposition() for _ in range(5)), return_exceptions=True)
            os.kill(server.pid, signal.SIGCONT)
            assert len({id(error) for error in failed}) == 1
            assert b"awr_deliveries" in await exposition()

    asyncio.run(check())
