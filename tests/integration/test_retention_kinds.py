"""What grows beside the events counts against the byte budget; what may be forgotten has a share of it."""

from __future__ import annotations

import json

from eventlog import sizes
from eventlog.clock import now_ms
from eventlog.log import EventLog
from eventlog.registry import Declaration
from eventlog.retention import Keep, keep
from eventlog.usage import standing

MIB = 1 << 20
HOUR_MS = 3_600_000


async def declared(log: EventLog) -> None:
    await log.declare([Declaration("h", "v1", ("*",), "default", "entity", "oldest")])


async def remember(log: EventLog, hours_ago: int, n: int) -> str:
    """Fill one part of the duplicate window, four hours long."""
    hour = (now_ms() - hours_ago * HOUR_MS) // HOUR_MS // 4 * 4
    key = log.key("seen", hour)
    await log.redis.sadd(key, *(b"%012d" % i for i in range(n)))
    return key


def test_the_duplicate_window_is_counted_and_its_oldest_parts_go_first(on_each_server):
    async def check(log: EventLog) -> None:
        await declared(log)
        old, older = await remember(log, 4, 6_000), await remember(log, 8, 6_000)
        new = await remember(log, 0, 100)
        whole = (await keep(log, Keep(max_bytes=64 * MIB))).duplicates
        assert whole > 12_000 * 12
        assert await log.redis.exists(old, older, new) == 3
        found = await keep(log, Keep(max_bytes=whole * 3 // 2))
        assert found.forgotten == 1
        assert (await log.redis.exists(old, new), await log.redis.exists(older)) == (2, 0)
        assert found.duplicates <= whole * 3 / 4

    on_each_server(check)


def test_the_history_is_counted_and_the_newest_tenth_of_the_budget_stays(on_each_server):
    async def check(log: EventLog) -> None:
        await declared(log)
        stream = log.key("history", "h", 0)
        for n in range(400):
            last = await log.redis.xadd(stream, {"d": bytes([n % 256]) * 1_000})
        assert (await keep(log, Keep(max_bytes=64 * MIB))).history > 400_000
        found = await keep(log, Keep(max_bytes=MIB))
        assert found.history <= MIB / 10
        kept = await log.redis.xrange(stream)
        assert len(kept) > 50
        assert kept[-1][0] == last

    on_each_server(check)


def test_the_ledgers_are_counted_a_page_at_a_time(on_each_server, monkeypatch):
    monkeypatch.setattr(sizes, "_LEDGER_PAGE", 100)

    async def check(log: EventLog) -> None:
        await declared(log)
        for n in range(300):
            await log.redis.hset(log.key("ledger", "h", f"0-{n}-0"), "step", b"x" * 10_000)
        for _ in range(3_000):
            found = await keep(log, Keep(max_bytes=MIB))
            if found.steps > 300 * 10_000:
                break
        assert 300 * 10_000 < found.steps < 300 * 15_000
        assert "once-only steps" in found.full
        stored = await standing(log)
        assert stored is not None
        assert stored.steps == found.steps
        assert stored.bytes == found.bytes > 300 * 10_000

    on_each_server(check)


def test_counters_of_older_code_count_and_old_gaps_go(on_each_server):
    async def check(log: EventLog) -> None:
        await declared(log)
        await log.redis.hset(log.key("counts"), "accepted:" + "x" * MIB, 1)
        gap = json.dumps({"from": "a", "to": "b", "types": []})
        await log.redis.hset(log.key("gaps"), mapping={str(n): gap for n in range(1_200)})
        found = await keep(log, Keep(max_bytes=64 * MIB))
        assert found.tables > MIB
        left = {int(at) for at in await log.redis.hkeys(log.key("gaps"))}
        assert left == set(range(200, 1_200))

    on_each_server(check)
