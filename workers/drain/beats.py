"""The beats of one process: report what it works on, read what others report, give back pairs over its share.

With Redis away, beats fail quietly and limit nothing; leases decide as usual.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import structlog
from redis.exceptions import RedisError

from eventlog import presence
from eventlog.handler_faults import Fault
from eventlog.lease import clock_s
from eventlog.log import EventLog
from eventlog.loop_lag import LoopLag
from workers.delivery.attempt import Runtime
from workers.drain.share import Share

if TYPE_CHECKING:
    from workers.drain.drain import Drain

Pair = tuple[str, int]

_LASTING_S = 1.0  # for which a pair was held before it may be given back
_RATE_BEATS = 6
_ANSWER_S = 1.0

_log = structlog.get_logger()


class Beats:
    """The beats and the fair share of one process.

    Args:
        runtimes: the handlers that it serves, by name.
        max_drains: how many pairs it can work on at the same time.
        pid: shown to people.
        faults: returns the faults of what the process cannot run now.
    """

    def __init__(
        self,
        log: EventLog,
        queue: str,
        runtimes: Mapping[str, Runtime],
        *,
        max_drains: int,
        pid: int,
        faults: Callable[[], Sequence[Fault]] = tuple,
    ) -> None:
        self._eventlog = log
        self._queue = queue
        self._versions = {name: runtime.version for name, runtime in runtimes.items()}
        self._max_drains = max_drains
        self._faults = faults
        self._name = f"{socket.gethostname()}:{pid}:{secrets.token_hex(3)}"
        self._share = Share(self._name)
        self._outdated: set[str] = set()
        self._settled: Counter[str] = Counter()
        self._rates: deque[tuple[float, Counter[str]]] = deque(maxlen=_RATE_BEATS)
        self._seen_s = 0.0
        self._beating = asyncio.Lock()
        self._serving: Counter[str] = Counter()
        self._left = False
        self._lag = LoopLag()
        self._leases_lost = 0

    @property
    def hungry(self) -> bool:
        """Whether this process has fewer pairs than its share."""
        return self._share.hungry

    async def beat(self, drains: Mapping[Pair, Drain]) -> None:
        """Report what is at work here, and give back pairs over the share."""
        async with self._beating:
            if self._left:
                return
            self._lag.start()
            try:
                async with asyncio.timeout(_ANSWER_S):
                    view = await presence.beat(
                        self._eventlog,
                        self._queue,
                        self._name,
                        self._max_drains - len(drains),
                        self._parts(drains),
                        self._versions,
                        self._faults(),
                        presence.Condition(self._lag.seconds, self._leases_lost, len(self._faults())),
                    )
            except (RedisError, OSError):
                if clock_s() - self._seen_s > presence.LIFE_MS / 1000:
                    self._share.forget()
                return
            self._seen_s = clock_s()
            self._serving = Counter(handler for process in view.processes for handler in process.parts)
            self._outdated &= view.outdated
            lasting = _lasting(drains, self._seen_s)
            give = self._share.see(view, {handler: len(lanes) for handler, lanes in lasting.items()})
        for handler, count in give.items():
            # The highest lanes of every handler, so that the handlers' pairs of one lane stay together.
            lanes = sorted(lasting[handler])[-count:]
            _log.info("lane.released", handler=handler, lanes=lanes, reason="share")
            for lane in lanes:
                drains[handler, lane].give()

    def serve(self, runtime: Runtime) -> None:
        """Report from the next beat on that this process serves a further handler."""
        self._versions[runtime.handler.name] = runtime.version

    async def leave(self) -> None:
        """Leave before the work ends, so that the others take over at once."""
        self._lag.stop()
        with contextlib.suppress(RedisError, OSError):
            async with asyncio.timeout(_ANSWER_S), self._beating:
                self._left = True
                await presence.leave(self._eventlog, self._queue, self._name)

    def room(self, held: Iterable[Pair]) -> dict[str, int]:
        """Return how many given pairs of each handler may be taken at once."""
        return self._share.room(Counter(handler for handler, _ in held))

    def serving(self, handler: str) -> int:
        """Return how many live processes serve a handler, this one included."""
        return max(1, self._serving[handler])

    def ended(self, handler: str, drain: Drain) -> None:
        """Record how a drain ended."""
        self._settled[handler] += drain.settled
        self._leases_lost += drain.lost
        if drain.outdated:
            self._outdated.add(handler)  # until the newest code changes: it is given no more pairs

    def _parts(self, drains: Mapping[Pair, Drain]) -> dict[str, presence.Part]:
        held: dict[str, set[int]] = {name: set() for name in self._versions}
        ending: dict[str, set[int]] = {name: set() for name in self._versions}
        settled = self._settled.copy()
        for (handler, lane), drain in drains.items():
            (ending if drain.stopping else held)[handler].add(lane)
            settled[handler] += drain.settled
        now_s = clock_s()
        since_s, before = self._rates[0] if self._rates else (now_s, settled)
        self._rates.append((now_s, settled))
        took_s = max(presence.BEAT_S, now_s - since_s)
        return {
            name: presence.Part(
                frozenset(held[name]),
                frozenset(ending[name]),
                name in self._outdated,
                (settled[name] - before[name]) / took_s,
            )
            for name in self._versions
        }


def _lasting(drains: Mapping[Pair, Drain], now_s: float) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for (handler, lane), drain in drains.items():
        if not drain.stopping and now_s - drain.started_s >= _LASTING_S:
            found.setdefault(handler, []).append(lane)
    return found
