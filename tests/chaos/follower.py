"""Reads the lanes as they grow, since what is settled may be trimmed before the run is over."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import redis

from tests.chaos.cast import LANES, PREFIX
from tests.chaos.story import Stored, stored

_BLOCK_MS = 100
_PAGE = 1_000
_AGAIN_S = 0.02


class Follower:
    """Follows every lane from its beginning, straight from the server, until `stop` is called."""

    def __init__(self, client: Callable[[], redis.Redis]) -> None:
        self._client = client
        self._stopping = threading.Event()
        self._found: list[Stored] = []
        self._after: dict[Any, Any] = {f"{PREFIX}events:{lane}": "0-0" for lane in range(LANES)}
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> list[Stored]:
        """Look a last time; every event that was seen, lane by lane."""
        self._stopping.set()
        self._thread.join()
        return sorted(self._found, key=lambda event: (event.lane, event.order))

    def _run(self) -> None:
        with self._client() as client:
            while self._look(client) or not self._stopping.is_set():
                pass

    def _look(self, client: redis.Redis) -> bool:
        """Whether there was anything new."""
        try:
            answer: Any = client.xread(self._after, count=_PAGE, block=_BLOCK_MS)
        except (redis.RedisError, OSError):
            self._stopping.wait(_AGAIN_S)  # it is away, and comes back
            return False
        for key, entries in answer or ():
            name = key.decode()
            lane = int(name.rpartition(":")[2])
            self._found += [stored(lane, stream_id, fields) for stream_id, fields in entries]
            self._after[name] = entries[-1][0]
        return bool(answer)
