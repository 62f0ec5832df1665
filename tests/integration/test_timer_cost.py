"""What 100,000 waiting timers cost: bytes, and no search while none is due."""

from __future__ import annotations

from ampeco.notifications import SessionUpdate
from eventlog.entity_records import PutTimer, fire
from eventlog.lease import Lease, Settlement
from eventlog.log import EventLog
from handlers import Context, Event, Timer, handler
from tests.harness import declaration

TIMERS = 100_000
_STEP = 5_000


@handler("acme.overstay")
async def overstay(event: Event[SessionUpdate | Timer], ctx: Context) -> None: ...


async def put(log: EventLog, lease: Lease, first: int, last: int, in_ms: int) -> None:
    after = "0-0"
    for start in range(first, last, _STEP):
        timers = [
            PutTimer(key, key, "check", f"gen{n:05}", in_ms + n, "12-1764421200000-10", "")
            for n in range(start, min(last, start + _STEP))
            for key in (f"session:{1_000_000 + n}",)
        ]
        await lease.step(Settlement(kept=timers), after=after)


def test_waiting_timers_take_at_most_300_bytes_each_and_are_not_searched(with_lane):
    async def check(log: EventLog) -> None:
        await log.declare([declaration(overstay)])
        lease = Lease(log, "acme.overstay", 0, "default")
        assert await lease.take() is not None
        before = (await log.redis.info("memory"))["used_memory"]
        await put(log, lease, 0, TIMERS, 86_400_000)
        taken = (await log.redis.info("memory"))["used_memory"] - before
        assert await log.redis.zcard(log.key("timersdue", "acme.overstay", 0)) == TIMERS
        assert taken / TIMERS <= 300, f"{taken / TIMERS:.0f} bytes each"
        await log.redis.config_resetstat()
        assert await fire(log) == 0
        calls = await log.redis.info("commandstats")
        assert sum(each["calls"] for name, each in calls.items() if name.startswith("cmdstat_z")) <= 2
        await put(
            log, lease, TIMERS, TIMERS + 1_200, -2_000_000
        )  # in the past, so more than one call moves them
        assert await fire(log) == 1_200
        assert await log.redis.xlen(log.key("events", 0)) == 1_200
        assert await fire(log) == 0

    with_lane(check)
