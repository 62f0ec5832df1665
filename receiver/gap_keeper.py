"""Follows each gap until nothing more can be done about it, and records the result.

First it waits for the end of the request for a resend. Then it compares the types of `AWR_BACKFILL` with AMPECO's
listings. Gaps of nearly the same time are compared together. A gap of which every type was compared is closed with
proof. Any other is left `unproven`, and its record names the types. One receiver at a time does this.

A failing AMPECO leaves a gap open, and the pauses between two tries grow.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any, Protocol

from redis.exceptions import RedisError

from ampeco.errors import ApiError, KeyRefused, RateLimited, RequestRefused
from ampeco.reconstruction import SOURCES
from eventlog.clock import now_ms, rfc3339
from eventlog.gap_records import COMPARER_MS, Gaps
from eventlog.inspection.delivery_state import HandlerFacts
from eventlog.inspection.gaps import Check, Gap, changed, recorded_gaps
from eventlog.inspection.resends import resend_of, resender
from eventlog.log import EventLog
from eventlog.text import bounded
from receiver.backfill import Backfill, Window
from receiver.errors import NoRoom, NotComparable
from receiver.growing_pause import pause_after
from receiver.logging import get_logger
from receiver.metrics import Metrics

LOOK_S = 5.0
LOCK_MS = 60_000
MARGIN_MS = 120_000
"""By how much the clocks of AMPECO and of Redis may differ."""

PATIENCE_MS = 3_600_000
"""How long a backfill waits for a resend that AMPECO refuses."""

MAX_PAUSE_MS = 600_000
_FIRST_PAUSE_MS = 10_000
_WORDS = 300
_NOT_LISTED = "no listing of AMPECO shows it"
_NOT_ASKED = "AWR_BACKFILL does not name it"
_NO_TOKEN = "this receiver has no API token"  # noqa: S105

_log = get_logger(__name__)


class _LockLost(Exception):
    """Another receiver follows the gaps now."""


class Checks(Protocol):
    """Compares one type in one window, as `Backfill.check` does."""

    async def check(
        self, type: str, window: Window, *, between: Callable[[], Any], appended: Callable[[int], None]
    ) -> Check: ...


class GapKeeper:
    """Follows the open gaps of one log."""

    def __init__(
        self,
        log: EventLog,
        backfill: Backfill | Checks | None,
        types: Collection[str],
        *,
        after_s: float,
        metrics: Metrics,
        is_open: Callable[[], bool],
        clock: Callable[[], int] = now_ms,
    ) -> None:
        """
        Args:
            backfill: None when this process cannot call AMPECO.
            types: those to compare with AMPECO's listings.
            after_s: how long after the resend to wait for what is still on its way.
            is_open: returns whether the log is known to be ours. Until then the keeper does nothing.
            clock: Unix ms.
        """
        self._log = log
        self._gaps = Gaps(log)
        self._backfill = backfill
        self._types = frozenset(types)
        self._after_ms = round(after_s * 1000)
        self._metrics = metrics
        self._is_open = is_open
        self._clock = clock
        self._token = secrets.token_hex(16)
        self._failures = 0
        self._not_before_ms = 0

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            try:
                await self.check()
            except _LockLost:
                _log.debug("gap.postponed", error="lock-lost")
            except (RedisError, OSError) as error:
                _log.debug("gap.postponed", error=type(error).__name__)
            except Exception as error:  # noqa: BLE001 - nothing that AMPECO answers may stop the endpoint
                self._pause(None)
                _log.warning("gap.not_checked", reason="unexpected", error=type(error).__name__)
            await asyncio.sleep(LOOK_S)

    async def check(self) -> None:
        """Move every open gap on, once.

        Raises:
            RedisError, OSError: Redis did not answer.
        """
        if not self._is_open():
            return
        now, comparer_ms = self._clock(), None
        if self._backfill is not None and self._types:
            await self._gaps.note_comparer(now)
        else:
            comparer_ms = await self._gaps.comparer_ms()
            if _is_expected(comparer_ms, now):
                return
        if not await self._log.redis.exists(self._log.key("gaps")):
            return
        if not await self._gaps.lock(self._token, LOCK_MS):
            return
        try:
            recorded = [gap for gap in await recorded_gaps(self._log) if gap.state == "open"]
            gaps = [gap for gap in recorded if not _is_expected(comparer_ms, now, after_ms=gap.to_ms)]
            asks = await resender(self._log) if any(_needs_resend(gap) for gap in gaps) else None
            found = [await self._awaited(gap, asks) for gap in gaps]
            for together in _merged(gap for gap in found if gap is not None):
                await self._close(together)
        finally:
            with contextlib.suppress(RedisError, OSError):  # must not take the place of a cancellation
                await self._gaps.unlock(self._token)

    async def _awaited(self, gap: Gap, asks: HandlerFacts | None) -> Gap | None:
        """Return the gap as it is recorded then, if it can be compared now; else None."""
        now = self._clock()
        if gap.ready_ms is None:
            resend = await resend_of(self._log, gap, asks, now_ms=now) if _needs_resend(gap) else None
            if resend is not None and resend.is_under_way and not self._is_out_of_patience(gap, now):
                await self._write(gap, waits=bounded(f"the resend {resend.words}", _WORDS))
                return None
            words = "what is on its way" if self._compared(gap) else ""
            gap = await self._write(gap, ready=now, waits=words)
        waits = self._compared(gap) and now - max(gap.ready_ms or now, gap.to_ms) < self._after_ms
        return None if waits else gap

    def _is_out_of_patience(self, gap: Gap, now_ms: int) -> bool:
        return bool(self._compared(gap)) and now_ms - gap.to_ms >= PATIENCE_MS

    def _compared(self, gap: Gap) -> frozenset[str]:
        """Return the types of a gap that are compared with a listing."""
        return frozenset() if self._backfill is None else self._types & SOURCES.keys() & {*gap.types}

    async def _close(self, gaps: Sequence[Gap]) -> None:
        """Compare what can be compared in gaps of nearly the same time, and record what is proven of each."""
        if self._clock() < self._not_before_ms:
            return
        checks: dict[str, Check] = {}
        unproven: dict[str, str] = {}
        since_ms = min(gap.from_ms for gap in gaps) - MARGIN_MS
        until_ms = min(max(gap.to_ms for gap in gaps) + MARGIN_MS, self._clock() - self._after_ms)
        for name in sorted({name for gap in gaps for name in self._compared(gap)}):
            known = [gap.checks[name] for gap in gaps if name in gap.checks]
            if len(known) == len([gap for gap in gaps if name in gap.types]):
                checks[name] = known[0]  # compared before a restart, or before another type failed
                continue
            try:
                checks[name] = await self._check(name, Window(since_ms, until_ms))
            except (RedisError, OSError):
                self._pause(None)  # the pages that were read are asked for again
                raise
            except NotComparable as error:
                unproven[name] = str(error)
            except (KeyRefused, RequestRefused) as error:
                unproven[name] = f"AMPECO refuses the listing ({error.reason})"
            except (ApiError, NoRoom) as error:
                self._pause(error)
                _log.warning("gap.not_checked", reason=error.reason, notification=name, retry_s=self._pause_s)
                words = f"the comparison of {name}: {error.reason}"
                for gap in gaps:
                    of_gap = {of: check for of, check in checks.items() if of in gap.types}
                    await self._write(gap, checks=of_gap, waits=words)
                return
        self._failures = 0
        for gap in gaps:
            await self._finish(gap, checks, unproven)

    async def _check(self, name: str, window: Window) -> Check:
        async def between() -> None:
            if not await self._gaps.lock(self._token, LOCK_MS):
                raise _LockLost

        assert self._backfill is not None  # noqa: S101 - a type is compared
        return await self._backfill.check(
            name, window, between=between, appended=self._metrics.reconstructed.inc
        )

    async def _finish(self, gap: Gap, checks: dict[str, Check], unproven: dict[str, str]) -> None:
        proven = {name: check for name, check in checks.items() if name in gap.types}
        rest = {name: unproven.get(name) or self._why_not(name) for name in gap.types if name not in proven}
        state = "unproven" if rest else "closed"
        await self._write(gap, state=state, checks=proven, unproven=rest, done=self._clock(), waits="")
        facts = {
            "reason": gap.reason,
            "since": rfc3339(gap.from_ms),
            "until": rfc3339(gap.to_ms),
            "changed": sum(check.changed for check in proven.values()),
            "seen": sum(check.seen for check in proven.values()),
            "reconstructed": sum(check.reconstructed for check in proven.values()),
        }
        if rest:
            _log.warning("gap.unproven", types=sorted(rest), **facts)
        else:
            _log.info("gap.proven", **facts)

    def _why_not(self, name: str) -> str:
        if name not in SOURCES:
            return _NOT_LISTED
        return _NOT_ASKED if name not in self._types else _NO_TOKEN

    async def _write(self, gap: Gap, **changes: Any) -> Gap:
        """Change the record of a gap, and return the changed gap."""
        after = changed(gap, changes)
        if after.text != gap.text and not await self._gaps.replace(gap.id, gap.text, after.text):
            raise _LockLost
        return after

    @property
    def _pause_s(self) -> float:
        return (self._not_before_ms - self._clock()) / 1000

    def _pause(self, error: Exception | None) -> None:
        """Wait before the next try, longer after each failure."""
        pause_ms = round(pause_after(self._failures, first=_FIRST_PAUSE_MS, longest=MAX_PAUSE_MS))
        if isinstance(error, RateLimited) and error.retry_after_s:
            pause_ms = max(pause_ms, min(round(error.retry_after_s * 1000), MAX_PAUSE_MS))
        self._failures += 1
        self._not_before_ms = self._clock() + pause_ms


def _needs_resend(gap: Gap) -> bool:
    """Return whether the request for a resend is still awaited, or not known to have ended."""
    return gap.ready_ms is None and not gap.is_final


def _is_expected(comparer_ms: int | None, now_ms: int, *, after_ms: int = 0) -> bool:
    """Return whether a process may be there soon that can prove what this one would leave as unproven.

    Args:
        comparer_ms: when such a process was there last; None for no such process.
        after_ms: end of an outage, which may have stopped that process, too.
    """
    return comparer_ms is not None and now_ms - max(comparer_ms, after_ms) < COMPARER_MS


def _merged(gaps: Iterable[Gap]) -> Iterator[list[Gap]]:
    """Put gaps together that are so close that their windows overlap."""
    together: list[Gap] = []
    for gap in sorted(gaps, key=lambda each: each.from_ms):
        if together and gap.from_ms - MARGIN_MS > max(each.to_ms for each in together) + MARGIN_MS:
            yield together
            together = []
        together.append(gap)
    if together:
        yield together
