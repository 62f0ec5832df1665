"""Periodic housekeeping. Every receiver and worker runs it; each second one process is elected to act (key `ticker`).

It wakes workers for due pairs without a drain, so a lost wake-up costs a few seconds. It also runs retention, counts
waiting events where the lag is not known, and notes the totals of each minute. It announces handlers that are behind
and times without an open receiver. It logs acts of operators, and warns when no events arrive.
"""

from __future__ import annotations

import asyncio
import time
from typing import Protocol

import structlog
from redis.exceptions import RedisError

from eventlog.audit import unlogged
from eventlog.behind import announce_behind
from eventlog.chores import Chores
from eventlog.entity_records import fire
from eventlog.heartbeat import open_gap
from eventlog.lag import count_waiting
from eventlog.log import EventLog
from eventlog.rates import note_totals
from eventlog.registry import handler_names
from eventlog.retention import Keep, keep
from eventlog.rollback import RollbackWatch
from eventlog.schedule import elect_sooner, elected, recompute, spread, sweep
from eventlog.silence import LOOK_S, look

TICK_S = 1.0
RECOMPUTE_S = 60.0
NOTE_S = 5.0  # the totals of a minute are noted by the first process that tries
BEHIND_S = 30.0  # between two checks
KEEP_S = 10.0
COUNT_HANDLERS = 20  # whose lag is checked per second
KEEP_SOON_S = 2.0  # while there is little room

_log = structlog.get_logger()


class Wakes(Protocol):
    """Wakes the workers of a queue."""

    def wake(self, queues: list[str]) -> None: ...


async def tick_forever(log: EventLog, waker: Wakes, stop: asyncio.Event, rules: Keep) -> None:
    """Run once a second until `stop` is set. While Redis is away it only waits.

    Args:
        rules: which part of the log to keep.
    """
    loop = asyncio.get_running_loop()
    recomputed_at_s = noted_at_s = float("-inf")
    recomputed_on = ""
    checked_at_s = loop.time()
    rollbacks = RollbackWatch(log)
    chores = Chores()
    do = chores.run
    while not stop.is_set():
        try:
            if await elected(log, TICK_S * 0.9, "ticker"):
                current = await do("rollback", rollbacks.look()) or recomputed_on
                if current != recomputed_on or loop.time() - recomputed_at_s >= RECOMPUTE_S:
                    # A Redis that came back may have lost the last hints.
                    await do("recompute", recompute(log))
                    recomputed_at_s, recomputed_on = loop.time(), current
                await do("timers", fire(log))
                waker.wake(await do("sweep", sweep(log)) or [])
                waker.wake(await do("gap", open_gap(log)) or [])
                await do("audit", _tell_acts(log))
                names = await do("handlers", handler_names(log)) or []
                await do("lag", count_waiting(log, _turn(names)))
                if loop.time() - checked_at_s >= BEHIND_S:
                    checked_at_s = loop.time()
                    waker.wake(await do("behind", announce_behind(log, names)) or [])
                if loop.time() - noted_at_s >= NOTE_S:
                    await do("totals", note_totals(log))
                    noted_at_s = loop.time()
            else:
                await do("spread", spread(log))  # the elected process and all workers may run older code
                if rollbacks.waits:
                    await do("rollback", rollbacks.look())
            if await elected(log, KEEP_S, "keeper"):
                await do("retention", _keep(log, rules, chores))
            if await elected(log, LOOK_S, "listener"):
                await do("silence", _listen(log))
        except (RedisError, OSError) as error:
            _log.debug("ticker.paused", error=type(error).__name__)
        try:
            async with asyncio.timeout(TICK_S):
                await stop.wait()
        except TimeoutError:
            pass


async def _tell_acts(log: EventLog) -> None:
    """Log the acts of operators here, where log lines are collected, and not on an operator's terminal."""
    for act in await unlogged(log):
        _log.info(
            "operator.acted",
            user=act.user,
            host=act.host,
            via=act.via,
            token_id=act.token or None,
            what=act.what,
            plan=act.plan,
            count=act.count,
        )


def _turn(names: list[str]) -> list[str]:
    """Return the handlers to check in this second, so that many of them cost no more than a few."""
    turns = max(1, -(-len(names) // COUNT_HANDLERS))
    return names[int(time.time()) % turns :: turns]


async def _listen(log: EventLog) -> None:
    found = await look(log)
    if found.turn == "began":
        _log.warning("notifications.stopped", silent_s=found.ms // 1000, usually=round(found.expected))
    elif found.turn == "ended":
        _log.info("notifications.resumed")


async def _keep(log: EventLog, rules: Keep, chores: Chores) -> None:
    found = await keep(log, rules, chores)
    if found.given_up:
        _log.warning("log.trimmed_early", events=found.given_up, bytes=found.bytes, max_bytes=found.max_bytes)
    if found.forgotten:
        _log.warning("duplicates.forgotten", parts=found.forgotten, max_bytes=rules.max_bytes)
    if found.is_tight:
        await elect_sooner(log, KEEP_SOON_S, "keeper")
    if found.full:
        # A handler that wants nothing in a lane must not hold up what others have settled.
        await recompute(log)
