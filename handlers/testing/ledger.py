"""The ledger of once-only steps in memory: the rules of `ledger_begin.lua` and its siblings, without Redis.

A test runs the same stories on both and compares the answers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

from eventlog.step_ledger import GRACE_MS, Scope, Standing


class Begun(NamedTuple):
    """A step that was begun, so its call was made."""

    scope: str
    step: str


@dataclass
class _Record:
    nonce: str
    holder: str
    until_ms: int
    state: Literal["begun", "done", "uncertain"] = "begun"
    left: bool = False
    result: str = ""
    fault: str = ""


class MemoryLedger:
    """The steps of one handler, for one attempt.

    Args:
        records: what all attempts of the handler share: (scope, step) -> record.
        holder: names the attempt, as the token of a lease does.
        hold_s: seconds within which every attempt ends.
        now_ms: Unix time in milliseconds.

    Attributes:
        begun: the steps that this attempt called, in order.
        remembered: names of the steps whose record this attempt was given, in order.
    """

    alive = True

    def __init__(
        self,
        records: dict[tuple[str, str], _Record],
        *,
        holder: str,
        hold_s: float,
        now_ms: Callable[[], int],
    ) -> None:
        self._records = records
        self._holder = holder
        self._hold_ms = int(hold_s * 1000)
        self._now_ms = now_ms
        self.begun: list[Begun] = []
        self.remembered: list[str] = []

    async def begin(self, scope: Scope, step: str, nonce: str, *, again: bool) -> Standing:
        """Begin a step, or return what became of it."""
        record, now = self._records.get((scope.name, step)), self._now_ms()
        if record is not None:
            if record.state == "done":
                self.remembered.append(step)
                return Standing("done", record.result, record.fault)
            if record.nonce == nonce:
                return Standing("begun")
            if record.state == "begun" and (wait_ms := self._held_for_ms(record, now)) > 0:
                return Standing("held", wait_s=wait_ms / 1000)
            record.state = "uncertain"
            if not again:
                return Standing("uncertain")
        self._records[scope.name, step] = _Record(nonce, self._holder, now + self._hold_ms)
        self.begun.append(Begun(scope.name, step))
        return Standing("begun")

    async def finish(self, scope: Scope, step: str, nonce: str, result: str, fault: str) -> bool:
        """Record that a step was done."""
        return self._end(scope, step, nonce, "done", result, fault)

    async def doubt(self, scope: Scope, step: str, nonce: str) -> bool:
        """Record that the end of a step is unknown."""
        return self._end(scope, step, nonce, "uncertain", "", "")

    async def clear(self, scope: Scope, step: str, nonce: str) -> bool:
        """Remove a step that certainly had no effect."""
        record = self._records.get((scope.name, step))
        if record is None or record.nonce != nonce or record.state == "done":
            return False
        del self._records[scope.name, step]
        return True

    async def recorded(self, scope: Scope, step: str) -> Standing | None:
        """Return what is known of a step whose call came to an end."""
        record = self._records.get((scope.name, step))
        if record is None or record.state == "begun":
            return None
        return Standing(record.state, record.result, record.fault)

    async def keep(self, event_id: str) -> None:
        """Start the time to live of a ledger; this one lives as long as its test."""

    def _held_for_ms(self, record: _Record, now: int) -> int:
        if record.holder != self._holder and not record.left:
            record.left, record.until_ms = True, min(record.until_ms, now + GRACE_MS)
        record.until_ms = min(record.until_ms, now + self._hold_ms)
        return record.until_ms - now

    def _end(
        self,
        scope: Scope,
        step: str,
        nonce: str,
        state: Literal["done", "uncertain"],
        result: str,
        fault: str,
    ) -> bool:
        record = self._records.get((scope.name, step))
        if record is None or record.nonce != nonce:
            return False
        if record.state != "done":
            record.state, record.result, record.fault = state, result, fault
        return True
