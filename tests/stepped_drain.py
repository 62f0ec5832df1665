"""A drain that a test moves step by step, with its choices made at random: it can stop anywhere, as in a crash."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

from eventlog.lease import TTL_S, Lease, Mode, Settlement
from eventlog.log import EventLog
from eventlog.record import DeadLetter, id_order
from workers.drain.entry import Entry
from workers.drain.window import Window

FAR_MS = 1 << 42
EARLIER = Path(__file__).parent / "earlier"


class EarlierSettlement(Settlement):
    """What code before the counts sent with a step."""

    def arguments(self) -> list[Any]:
        *most, _passed, _beyond, _oldest, _parked, history = super().arguments()
        return [*most, history]


def as_earlier_code(log: EventLog) -> EventLog:
    """The same log as code before the counts sees it: its scripts append and step without counting."""
    earlier = EventLog(log.redis, prefix=log.prefix, lanes=log.lanes)
    for name in ("append", "step"):
        text = (EARLIER / f"{name}.lua").read_text("utf-8")
        setattr(earlier.scripts, name, log.redis.register_script(text))
    call = earlier.channel.call

    async def as_before(script: Any, arguments: Any, **options: Any) -> Any:
        """Leave out what a step did not send then: what it claims, what it reads for others, and the
        lane of internal events. Each renewed."""
        if script is not earlier.scripts.step:
            return await call(script, arguments, **options)
        *names, ttl_ms = arguments[:7]
        sent = [*names, ttl_ms or int(TTL_S * 1000), *arguments[7:12], *arguments[16:]]
        reply = await call(script, sent, **options)
        return [*reply, b"", b""] if reply[0] == b"ok" else reply

    earlier.channel.call = as_before  # type: ignore[method-assign]
    return earlier


class SteppedDrain:
    """One lane of one handler."""

    def __init__(
        self, log: EventLog, handler: str, lane: int, chance: Random, *, earlier: EventLog | None = None
    ) -> None:
        self.lease = Lease(earlier or log, handler, lane, "default")
        self.window = Window("entity")
        self._log = log
        self._chance = chance
        self._earlier = earlier is not None

    async def take(self) -> bool:
        """Take the lease and all that was handed out before; False when it is not free."""
        taken = await self.lease.take()
        if taken is None:
            return False
        window = self.window
        window.cursor.cur = window.cursor.pos = taken.cur
        for record in taken.open:
            window.recall(record)
        until = max([id_order(taken.runto), *(record.event.order for record in taken.open)])
        while id_order(window.cursor.pos) < until:
            read = await self.lease.step(Settlement(), after=window.cursor.pos, count=256)
            for event in read.events:
                window.reread(event, settled=event.stream_id in taken.ahead)
            window.cursor.pos = read.scanned
            if read.exhausted:
                break
        window.arrange(id_order(taken.runto))
        return True

    async def step(self, mode: Mode = "work", count: int = 5) -> bool:
        """Let some of the ready events end, and write that; False when the lease was given back."""
        window, chance = self.window, self._chance
        dead = []
        for entry in self._started():
            fate = chance.choice(("left", "done", "done", "dead", "retry", "soon"))
            if fate == "left":
                continue
            window.running.discard(entry)
            if fate in ("retry", "soon"):
                window.retry(entry, FAR_MS if fate == "retry" else 1)
            else:
                window.settle(entry)
                if fate == "dead":
                    dead.append(DeadLetter(entry.record("running"), "gave-up"))
        if mode == "release" or chance.random() < 0.2:
            window.pass_unfinished(stopping=mode == "release")
        marks = window.mark()
        settled, window.unconfirmed = window.unconfirmed, []
        settlement = window.cursor.changes()
        settlement.dead = dead
        if self._earlier:
            settlement = EarlierSettlement(**vars(settlement))
        if mode == "sleep" and (len(window.cursor) or window.running):
            mode = "work"
        read = await self.lease.step(settlement, mode=mode, after=window.cursor.pos, count=count)
        window.confirm(settled)
        window.marked(marks)
        if read.asleep:
            return False
        for event in read.events:
            window.admit(event)
        window.cursor.pos = read.scanned or window.cursor.pos
        return True

    async def crash(self) -> None:
        """End like a process that was killed, and whose lease ran out."""
        await self._log.redis.delete(self._log.key("lease", self.lease.handler, self.lease.lane))

    def _started(self) -> list[Entry]:
        window = self.window
        window.start_due(2)
        while window.ready:
            window.begin(window.ready.popleft(), 1)
        while window.suspects:
            entry = window.suspects.popleft()
            entry.suspect = False
            window.begin(entry, 1)
        return [entry for entry in window.running if entry.state == "running"]
