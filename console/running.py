"""Acts that take longer than a page may: they run in this process, and a page shows how far each is.

It knows no HTTP and no log. When the process ends, so do its acts; the audit keeps how far they came.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from redis.exceptions import RedisError

from eventlog.connection.reasons import reason_of
from eventlog.errors import LogError
from eventlog.record import UnknownRecord

MOST_AT_ONCE: Final = 4

_MOST_KEPT = 200

Work: TypeAlias = AsyncIterator[Mapping[str, int]]
"""Carries out an act; yields what it has done so far, by kind."""


@dataclass
class Job:
    """One act.

    Attributes:
        title: of its page.
        count: how many it is about; None where that makes no sense.
        back: path of the page to go on with.
        done: how many were changed so far, by kind.
        why: for a failed one, why and what to do.
    """

    id: str
    title: str
    count: int | None
    back: str
    state: Literal["running", "done", "failed"] = "running"
    done: Mapping[str, int] = field(default_factory=dict)
    why: str = ""

    @property
    def passed(self) -> int:
        """Return how many were looked after, changed or not."""
        return sum(self.done.values())


class Running:
    """The acts of this process."""

    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def is_full(self) -> bool:
        """Whether no further act may begin."""
        return len(self._tasks) >= MOST_AT_ONCE

    def job(self, id: str) -> Job | None:
        """Return an act by the id of its line in the audit; None if this process has none."""
        return self._jobs.get(id)

    async def begin(
        self, job: Job, work: Work, refused: Callable[[], Awaitable[None]], *, patience_s: float = 0.0
    ) -> None:
        """Let an act run, and wait a moment, since most end at once.

        Args:
            refused: called when the log refuses the act.
        """
        while len(self._jobs) >= _MOST_KEPT:
            del self._jobs[next(iter(self._jobs))]
        self._jobs[job.id] = job
        task = asyncio.create_task(_carry_out(job, work, refused))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        await asyncio.wait((task,), timeout=patience_s)


async def _carry_out(job: Job, work: Work, refused: Callable[[], Awaitable[None]]) -> None:
    try:
        async for done in work:
            job.done = done
        job.state = "done"
    except LogError as error:
        job.state, job.why = "failed", str(error)
        await _quietly(refused)
    except UnknownRecord:
        job.state, job.why = "failed", "one of them was written by another version; use that one"
    except (RedisError, OSError, TimeoutError) as error:
        job.state, job.why = "failed", f"Redis cannot be reached now: {reason_of(error).hint}"
    finally:
        if job.state == "running":  # the process ends, or a fault of ours
            job.state, job.why = "failed", "it was interrupted"


async def _quietly(call: Callable[[], Awaitable[None]]) -> None:
    try:
        await call()
    except (RedisError, OSError, TimeoutError):
        return  # the line in the audit stays, which says more rather than less
