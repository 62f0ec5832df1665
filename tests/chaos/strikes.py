"""What strikes, when and whom: drawn from a seed, done to real processes, written down with its time."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections.abc import Callable

import redis

from eventlog import waker
from eventlog.clock import now_ms
from tests.chaos.cast import IMAGE_OF_SOME, LANES, NEXT_CODE, PREFIX, Doors, Workforce
from tests.chaos.roles import ROLES, START_STOP, WIDENED
from tests.chaos.stores import Store
from tests.chaos.story import Span, Strike
from tests.chaos.timers import TIMERS

_QUEUE_KEY = f"{PREFIX}rq:queue:default"
_EVERY_S = (0.8, 2.4)
_AGAIN_S = 0.1
_AT_WORK_SHARE = 0.8  # of the workers that are struck; the others may be just starting

_DEPLOY_AT = 0.4  # share of the run after which the next version is deployed

_LOSES_LEASES = frozenset({"kill-worker", "kill-isolated", "end-worker", "leave", "pause-past-lease"})

WEIGHTS = {
    "kill-worker": 60,
    "kill-isolated": 6,
    "kill-supervisor": 4,
    "kill-receiver": 7,
    "end-worker": 3,
    "join": 8,
    "leave": 6,
    "pause": 6,
    "pause-past-lease": 4,
    "lose-jobs": 3,
    "double-jobs": 2,
}
KILLS = frozenset(
    {"kill-worker", "kill-isolated", "kill-supervisor", "kill-receiver", "restart-redis", "failover"}
)


class Striker:
    """Strikes once every second or two, and ends its own doings in time.

    Attributes:
        strikes, stops: what it did.
        widened_ms: when the log knew what the next version of the code wants; None as long as it does not.

    Args:
        guests: how many workers may have joined at a time.
        struck: called after each strike.
    """

    def __init__(
        self,
        seed: int,
        store: Store,
        workers: Workforce,
        doors: Doors,
        *,
        guests: int = 3,
        struck: Callable[[], None] = lambda: None,
    ) -> None:
        self._random = random.Random(seed)
        self._store, self._workers, self._doors = store, workers, doors
        self._struck, self._most_guests = struck, guests
        self._endings: list[tuple[float, Callable[[], None]]] = []
        self._stopped_pid = 0
        self._next_s = 0.0
        self._deployed = False
        self.widened_ms: int | None = None
        self.strikes: list[Strike] = []
        self.stops: list[Span] = []

    def run(self, seconds: float) -> None:
        """Strike for that long, then set everything right again."""
        end_s = time.monotonic() + seconds
        deploy_s = end_s - (1 - _DEPLOY_AT) * seconds
        while (now_s := time.monotonic()) < end_s:
            self._end(now_s)
            if now_s >= deploy_s:
                self._deploy()
            if now_s >= self._next_s:
                pause_s = self._random.uniform(*_EVERY_S) if self._strike() else _AGAIN_S
                self._next_s = time.monotonic() + pause_s
            time.sleep(0.01)
        self._end(float("inf"))

    def _end(self, now_s: float) -> None:
        for ending in [one for one in self._endings if one[0] <= now_s]:
            self._endings.remove(ending)
            ending[1]()

    def _strike(self) -> bool:
        """Strike once; return False when there was no process to strike."""
        weights = {**WEIGHTS, **self._store.weights}
        (kind,) = self._random.choices(list(weights), list(weights.values()))
        try:
            holders = self._holders()
            if kind in self._store.weights:
                pid = self._store.strike(
                    kind, self._random, lambda at_s, end: self._endings.append((at_s, end))
                )
            else:
                pid = getattr(self, f"_{kind.replace('-', '_')}")()
        except redis.RedisError:
            return False  # a cluster that is still on its way
        if pid is None:
            return False
        self._struck()
        lost = [pair for pair, holder in holders.items() if _loses(kind, holder, pid)]
        self.strikes.append(Strike(time.monotonic(), kind, pid, frozenset(lost)))
        return True

    def _deploy(self) -> None:
        """A worker of the next version joins; when the log knows what it wants, the others follow."""
        if not self._deployed:
            self._deployed = True
            self._workers.code = NEXT_CODE
            self._workers.join((*ROLES, TIMERS))
            self.strikes.append(Strike(time.monotonic(), "deploy"))
        elif self.widened_ms is None and self._is_widened():
            self.widened_ms = now_ms()
            after_s = time.monotonic() + self._random.uniform(1.0, 6.0)
            self._endings.append((after_s, self._workers.deploy))

    def _is_widened(self) -> bool:
        try:
            with self._store.client() as client:
                wants = client.hget(f"{PREFIX}wants", WIDENED)
        except redis.RedisError:
            return False
        return wants is not None and START_STOP.encode() in wants

    def _holders(self) -> dict[str, int]:
        """Which process has the lease of which pair."""
        pairs = [(name, lane) for name in ROLES for lane in range(LANES)]
        with self._store.client() as client, client.pipeline(transaction=False) as asked:
            for name, lane in pairs:
                asked.hget(f"{PREFIX}lease:{name}:{lane}", "holder")
            found = zip(pairs, asked.execute(), strict=True)
        return {f"{name}|{lane}": int(holder.rpartition(b":")[2]) for (name, lane), holder in found if holder}

    # Each returns the process that it struck (0: no single process), or None when it did nothing.

    def _kill_worker(self) -> int | None:
        return self._signal_worker(signal.SIGKILL)

    def _kill_isolated(self) -> int | None:
        return self._signal_one(signal.SIGKILL, self._workers.helpers)

    def _end_worker(self) -> int | None:
        return self._signal_worker(signal.SIGTERM)

    def _join(self) -> int | None:
        if self._workers.guests >= self._most_guests:
            return None
        self._workers.join(self._random.choice(((*ROLES, TIMERS), IMAGE_OF_SOME)))
        return 0

    def _leave(self) -> int | None:
        return self._workers.leave()

    def _kill_supervisor(self) -> int | None:
        return self._signal_one(signal.SIGKILL, [self._workers.crew.supervisor])

    def _kill_receiver(self) -> int | None:
        return self._doors.kill(self._random.randrange(2)) or None

    def _pause(self) -> int | None:
        return self._stop_one(self._random.uniform(0.1, 3.0))

    def _pause_past_lease(self) -> int | None:
        return self._stop_one(self._random.uniform(6.5, 10.0))

    def _lose_jobs(self) -> int:
        with self._store.client() as client:
            client.delete(_QUEUE_KEY)
        return 0

    def _double_jobs(self) -> int:
        with self._store.client() as client:
            for job_id in client.lrange(_QUEUE_KEY, 0, -1):
                client.rpush(_QUEUE_KEY, job_id)
            waker.enqueue(client, ["default"] * self._random.randrange(1, 20))
        return 0

    def _signal_worker(self, number: signal.Signals) -> int | None:
        """Only when another one is up to take over: a slow machine starts them more slowly than we strike."""
        pids, ups = self._workers.workers, self._workers.ups
        able = [pid for pid in pids if pid in ups and pid != self._stopped_pid]
        at_work = len(able) > 1 and self._random.random() < _AT_WORK_SHARE
        return self._signal_one(number, able if at_work else [pid for pid in pids if {*able} - {pid}])

    def _signal_one(self, number: signal.Signals, pids: list[int]) -> int | None:
        if not pids:
            return None
        pid = self._random.choice(pids)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        return pid

    def _stop_one(self, seconds: float) -> int | None:
        """One at a time; it may be killed while it is stopped."""
        if self._stopped_pid:
            return None
        from_s, pid = (
            time.monotonic(),
            self._signal_one(signal.SIGSTOP, [*self._workers.workers, *self._workers.helpers]),
        )
        if pid is None:
            return None

        def go_on() -> None:
            self._stopped_pid = 0
            self.stops.append(Span(from_s, time.monotonic(), pid))
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

        self._stopped_pid = pid
        self._endings.append((from_s + seconds, go_on))
        return pid


def _loses(kind: str, holder: int, pid: int) -> bool:
    """Whether a lease is lost with a strike; a supervisor takes all of its workers with it."""
    return kind == "kill-supervisor" or (kind in _LOSES_LEASES and holder == pid)
