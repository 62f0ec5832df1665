"""Trims the log again and again, as every process may, but harder: every settled event, however young.

Sometimes it reports that there is no room at all. The receiver then answers 503 until its next check.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
import threading
import time
from dataclasses import replace

from redis.exceptions import RedisError

from eventlog.retention import Keep, keep
from eventlog.usage import Standing
from tests.chaos.cast import LANES, PREFIX
from tests.chaos.story import Strike
from tests.harness import opened

_EVERY_S = (1.0, 4.0)
_SHUT_S = (0.5, 3.0)
_LOOK_S = 0.3
_WEIGHTS = {"trim-settled": 3, "trim-early": 5, "shut-the-door": 2}
_ROOM = Keep()  # the rules of the processes of a run


class Keeper:
    """Looks after retention from a thread of its own.

    Attributes:
        strikes: what it did.
    """

    def __init__(self, url: str, seed: int) -> None:
        self._url = url
        self._random = random.Random(f"{seed}-keeper")
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.strikes: list[Strike] = []

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Trim nothing more, and let the receiver accept events."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(self._random.uniform(*_EVERY_S)):
            (kind,) = self._random.choices(list(_WEIGHTS), list(_WEIGHTS.values()))
            share, shut_s = self._random.uniform(0.3, 0.9), self._random.uniform(*_SHUT_S)
            if kind == "trim-settled":
                found = self._keep(Keep(hours=0))
            elif kind == "trim-early":
                found = self._trim_early(share)
            else:
                found = self._shut(shut_s)
            if found is not None:
                self.strikes.append(Strike(time.monotonic(), kind))
        while self._keep(_ROOM) is None:
            pass

    def _trim_early(self, share: float) -> Standing | None:
        """A share of what is taken has to be enough."""
        found = self._keep(_ROOM)
        if found is not None:
            found = self._keep(Keep(max_bytes=int(share * found.bytes)))
            self._keep(_ROOM)
        return found

    def _shut(self, seconds: float) -> Standing | None:
        """Report no room for a while. A process that applies the real rules ends it earlier."""
        end_s, found = time.monotonic() + seconds, None
        while time.monotonic() < end_s and not self._stopping.wait(_LOOK_S):
            found = self._keep(Keep(max_bytes=1)) or found
        self._keep(_ROOM)
        return found

    def _keep(self, rules: Keep) -> Standing | None:
        async def looked_after() -> Standing:
            async with opened(self._url, PREFIX, LANES) as log:
                # The judge reads the history, so all of it stays.
                return await keep(log, replace(rules, history_share=math.inf))

        with contextlib.suppress(RedisError, OSError):
            return asyncio.run(looked_after())
        return None
