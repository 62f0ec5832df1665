"""A log whose append script reads the time that a test sets, so that windows can pass."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from eventlog.log import EventLog
from eventlog.scripts import source
from tests.harness import opened

MIDNIGHT_S = 20_000 * 86_400  # a border of every window

_REAL = "call('TIME')"
_SET = "call('LRANGE', prefix .. 'clock', 0, 1)"


_MOVED = "(function(t) return {t[1] + (call('GET', prefix .. 'jumped') or 0), t[2]} end)(call('TIME'))"
_SCRIPTS = (
    "declare",
    "due",
    "elect",
    "ledger_begin",
    "present",
    "recompute",
    "step",
    "sweep",
    "take",
    "beat",
)


async def jump(log: EventLog, seconds: int) -> None:
    """Let the clock of Redis jump: the time that scripts read, and what each key has left to live."""
    for name in _SCRIPTS:
        setattr(log.scripts, name, log.redis.register_script(source(name).replace(_REAL, _MOVED)))
    async for key in log.redis.scan_iter(log.key("*")):
        left_ms = await log.redis.pttl(key)
        if left_ms > 0:
            await log.redis.pexpire(key, max(1, round(left_ms - seconds * 1000)))
    await log.redis.incrby(log.key("jumped"), seconds)


class ClockedLog:
    """A log, and the clock that its append script reads.

    Attributes:
        now_s: Unix seconds.
    """

    def __init__(self, log: EventLog) -> None:
        text = source("append")
        assert text.count(_REAL) == 1
        log.scripts.append = log.redis.register_script(text.replace(_REAL, _SET))
        self.log = log
        self.now_s = float(MIDNIGHT_S)

    async def pass_s(self, seconds: float) -> None:
        """Let time pass."""
        self.now_s += seconds
        whole, part = divmod(self.now_s, 1)
        clock = self.log.key("clock")
        async with self.log.redis.pipeline(transaction=True) as changes:
            changes.delete(clock)
            changes.rpush(clock, int(whole), int(part * 1_000_000))
            await changes.execute()


@contextlib.asynccontextmanager
async def clocked(url: str, prefix: str, **options: int) -> AsyncIterator[ClockedLog]:
    """A log at midnight."""
    async with opened(url, prefix, **options) as log:
        found = ClockedLog(log)
        await found.pass_s(0)
        yield found
