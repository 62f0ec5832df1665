"""The drains of one process: takes due pairs of its queue, as many as it has room for.

An RQ job only triggers a check of what is due (`work`). A drain goes on whether or not a job is running.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, MutableMapping, Sequence

import structlog
from redis.exceptions import RedisError

from eventlog.chores import Chores
from eventlog.connection.reasons import reason_of
from eventlog.handler_faults import Fault
from eventlog.lease import Lease, clock_s
from eventlog.log import EventLog
from eventlog.outages import Outages, Rules
from eventlog.presence import BEAT_S
from handlers.declaration import Handler
from workers.delivery.attempt import Runtime
from workers.delivery.attempt_lines import AttemptLines
from workers.drain.beats import Beats
from workers.drain.drain import Drain
from workers.drain.lane_steps import UNREADABLE_S
from workers.drain.lease_watch import LeaseWatch
from workers.drain.pace import Pace
from workers.drain.place_rotation import MAX_DRAINS, PlaceRotation
from workers.drain.service_watch import ServiceWatch
from workers.drain.shared import LOOP_DEPTH, Shared, Slots
from workers.drain.shared_reads import SharedReads
from workers.drain.steps_at_once import StepsAtOnce
from workers.drain.turns import Turns
from workers.drain.watchdog import NoteWriter, Watchdog

JOB_S = 5.0  # how long one wake-up may keep the RQ worker
IDLE_S = 0.05

_CHECK_S = 0.004
_LATE_S = 0.2  # a loop that is this late begins no drain: the leases of those that run come first
_HUNGRY_S = 0.05  # between two checks while other processes are about to give pairs
_CROWDED_CHECK_S = 0.1  # while pairs wait for a place and most places are taken
_REPORT_S = 5.0  # between two lines that say that Redis is away
_AVOID_S = 2.0
_GRACE_S = 10.0  # of a polite stop, beyond the longest attempt
_RULES = Rules()

_log = structlog.get_logger()


class Dispatcher:
    """Works on the due (handler, lane) pairs of one queue.

    Args:
        runtimes: handlers by name, ready to run.
        watchdog: end the process when its event loop is stuck, or when it was paused past a lease. Off in tests
            that run a dispatcher in their own process.
        alone: work on one pair and on one event at a time, so that an event that kills the process takes no
            other along.
        catch_up_per_s: bound for each handler on deliveries per second of events that waited long.
        rules: when what handlers need is away, and what follows.
        loop_depth: most actions of a chain of actions and echoes, for one entity.
        faults: returns the handlers that cannot run now.
        note_blocked: stores what the watchdog knows of an event that blocked the loop.

    Attributes:
        services: follows the services that the handlers need.
        stopping: no further drain starts.
        recycling: set when an attempt outlived its time and only the end of the process ends it.
    """

    def __init__(
        self,
        log: EventLog,
        queue: str,
        runtimes: MutableMapping[str, Runtime],
        *,
        watchdog: bool = False,
        alone: bool = False,
        catch_up_per_s: float | None = None,
        rules: Rules = _RULES,
        loop_depth: int = LOOP_DEPTH,
        faults: Callable[[], Sequence[Fault]] = tuple,
        note_blocked: NoteWriter | None = None,
    ) -> None:
        self._eventlog = log
        self._queue = queue
        self._runtimes = runtimes
        self._lease_watch = LeaseWatch(Watchdog(self._handlers, note_blocked) if watchdog else None)
        self._rotation = PlaceRotation(1 if alone else MAX_DRAINS)
        self._alone = alone
        self._rules = rules
        self._loop_depth = loop_depth
        self._catch_up_per_s = catch_up_per_s
        self._suspects_turn, self._turns, self._steps = asyncio.Lock(), Turns(), StepsAtOnce()
        self._lines = AttemptLines()
        self.services = ServiceWatch(Outages(log, rules), self._hold)
        self._shared = {name: self._shared_of(runtime) for name, runtime in runtimes.items()}
        # The forks of one isolated process follow each other, and people know them by their parent.
        pid = os.getppid() if alone else os.getpid()
        self._beats = Beats(log, queue, runtimes, max_drains=self._rotation.places, pid=pid, faults=faults)
        self._reads = SharedReads()
        self._drains: dict[tuple[str, int], tuple[Drain, asyncio.Task[None]]] = {}
        self._avoid: dict[tuple[str, int], float] = {}
        self._grace_s = max((r.handler.timeout_s for r in runtimes.values()), default=0.0) + _GRACE_S
        self._quiet_until_s = 0.0
        self._late = False
        self._chores = Chores()
        self.stopping = False
        self.recycling = asyncio.Event()

    @property
    def grace_s(self) -> float:
        """Seconds a polite stop may take."""
        return self._grace_s

    @property
    def at_work(self) -> bool:
        """Whether attempts run. Other threads may ask."""
        return any(drain.at_work for drain, _ in list(self._drains.values()))

    def serve(self, runtime: Runtime) -> None:
        """Serve a further handler from now on."""
        name = runtime.handler.name
        self._shared[name] = self._shared_of(runtime)
        self._runtimes[name] = runtime
        self._grace_s = max(self._grace_s, runtime.handler.timeout_s + _GRACE_S)
        self._beats.serve(runtime)

    async def work(self) -> bool:
        """Start drains for what is due, until nothing is left to do or a wake-up's time is over.

        Returns:
            True when there is still work, so that another wake-up is needed.
        """
        end_s = clock_s() + JOB_S
        idle_since_s: float | None = None
        with contextlib.suppress(RedisError):
            await self._eventlog.awake(self._queue)
        while not self.stopping and not self.recycling.is_set() and clock_s() < end_s:
            try:
                await self._chores.run("due", self._start_due())
            except (RedisError, OSError) as error:
                if clock_s() >= self._quiet_until_s:
                    fields = reason_of(error).fields(error)
                    _log.warning("redis.unreachable", **fields, next_report_s=_REPORT_S)
                    self._quiet_until_s = clock_s() + _REPORT_S
                await asyncio.sleep(0.2)
                continue
            if self._drains:
                idle_since_s = None
            elif idle_since_s is None:
                idle_since_s = clock_s()
            elif clock_s() - idle_since_s > IDLE_S:
                return False
            pause_s = _CROWDED_CHECK_S if self._rotation.is_full(len(self._drains)) else _CHECK_S
            checked_s = clock_s()
            await asyncio.sleep(pause_s)
            self._late = clock_s() - checked_s > pause_s + _LATE_S
        return bool(self._drains) and not self.stopping

    async def look_forever(self) -> None:
        """Beat and check once a second even without a wake-up: a worker that died may have taken it."""
        beat_at_s = 0.0
        while True:
            if not self.stopping and clock_s() >= beat_at_s:
                beat_at_s = clock_s() + BEAT_S
                beating = self._beats.beat({pair: drain for pair, (drain, _) in self._drains.items()})
                await self._chores.run("beat", beating)
                for name, shared in self._shared.items():
                    shared.pace.divide(self._beats.serving(name))
                with contextlib.suppress(RedisError, OSError):
                    await self._chores.run("services", self.services.look())
            if not self.stopping:
                with contextlib.suppress(RedisError, OSError):
                    await self._chores.run("due", self._start_due())
            await asyncio.sleep(_HUNGRY_S if self._beats.hungry else max(0.0, beat_at_s - clock_s()))

    async def watch(self) -> None:
        """Give up leases in time, and let the watchdog end a process that cannot."""
        await self._lease_watch.watch(self._drains)

    def stop_soon(self) -> None:
        """Start no further drains, so that `work` ends."""
        self.stopping = True

    async def stop(self) -> None:
        """Start nothing new, let running attempts finish within the grace time, and hand back the rest."""
        self.stopping = True
        leaving = asyncio.create_task(self._beats.leave())
        for drain, _ in list(self._drains.values()):
            drain.stop()
        await asyncio.gather(
            leaving, *(task for _, task in list(self._drains.values())), return_exceptions=True
        )
        self._lines.write_rest()

    def _shared_of(self, runtime: Runtime) -> Shared:
        handler = runtime.handler
        runtime.lines = self._lines.of(handler.name)
        return Shared(
            Slots(1 if self._alone else handler.concurrency),
            self._suspects_turn,
            self._attempt_is_overdue,
            self._turns,
            self._steps,
            Pace(self._catch_up_per_s, after_outage_per_s=self._rules.catch_up_per_s),
            self.services.of(handler.name, handler.backoff),
            self._loop_depth,
        )

    async def _start_due(self) -> None:
        if self.recycling.is_set() or not self._runtimes:
            return
        room = self._beats.room(self._drains)
        pairs = await self._eventlog.due(self._queue, tuple(self._runtimes), limit=16 * MAX_DRAINS, room=room)
        now_s = clock_s()
        self._avoid = {pair: until for pair, until in self._avoid.items() if until > now_s}
        wanted = [pair for pair in pairs if pair not in self._drains and self._may_take(pair)]
        beginning = self._rotation.next(wanted, pairs, len(self._drains))
        for handler, lane in () if self._late and self._drains else beginning:
            self._start(handler, lane)
        if self._rotation.crowded:
            for drain, _ in self._drains.values():
                if self._rotation.makes_way(now_s - drain.started_s, drain.settled):
                    drain.stop()

    def _hold(self, handler: str) -> None:
        """Stop the drains of a handler that is held."""
        for (name, _), (drain, _) in list(self._drains.items()):
            if name == handler:
                drain.hold()

    def _may_take(self, pair: tuple[str, int]) -> bool:
        handler, lane = pair
        return pair not in self._avoid and not self._runtimes[handler].lanes_in_threads[lane]

    def _start(self, handler: str, lane: int) -> None:
        lease = Lease(self._eventlog, handler, lane, self._queue)
        drain = Drain(lease, self._runtimes[handler], self._shared[handler], self._reads)
        task = asyncio.create_task(drain.run(self._grace_s))
        if not self._drains:
            self._lease_watch.begin()
        pair = (handler, lane)
        self._drains[pair] = (drain, task)
        self._rotation.begun(pair, drain.started_s)
        task.add_done_callback(lambda _: self._ended(pair, drain))

    def _ended(self, pair: tuple[str, int], drain: Drain) -> None:
        self._drains.pop(pair, None)
        self._beats.ended(pair[0], drain)
        if drain.outdated or drain.unreadable:
            self._avoid[pair] = clock_s() + (_AVOID_S if drain.outdated else UNREADABLE_S)

    def _attempt_is_overdue(self, handler: str, event_id: str, where: str) -> None:
        """End the process soon: nothing else ends a thread that never returns, or a task that refuses its cancel."""
        if not self.recycling.is_set():
            _log.error(
                "worker.recycling",
                reason="an attempt outlived its time",
                handler=handler,
                event_id=event_id,
                where=where,
            )
        self.recycling.set()

    def _handlers(self) -> list[Handler]:
        return [runtime.handler for runtime in list(self._runtimes.values())]
