"""Counts an attempt's calls to AMPECO by operation, status class and duration, under names of the log's counters."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Collection

from ampeco.operations import OPERATIONS, Operation, is_declared
from eventlog.registry import CALL, CALL_BOUNDS_MS, CALL_MS

OTHER = "(other)"
"""Label of operations that neither the contract nor `calls=` of the handler names."""


class CallCounts(Counter[str]):
    """How much to raise which counter of the log."""

    def add(self, label: str, outcome: str, status: int | None, seconds: float) -> None:
        """Count one call.

        Args:
            label: of the operation, from `label_of`.
            outcome, status, seconds: as a gate gets them.
        """
        kind = outcome if status is None else f"{status // 100}xx"
        ms = seconds * 1000
        at = bisect_left(CALL_BOUNDS_MS, ms)
        bound = str(CALL_BOUNDS_MS[at]) if at < len(CALL_BOUNDS_MS) else ""
        self[f"{CALL}{label}|{kind}|{bound}"] += 1
        self[f"{CALL_MS}{label}|{kind}"] += round(ms)


def label_of(calls: Collection[str], operation: Operation, path: str) -> str:
    """Return a name of an operation that holds no id, so that there are few: for metrics and spans.

    Args:
        calls: what the handler declares.
        path: of the request.
    """
    if operation.name in OPERATIONS:
        return operation.name
    for entry in calls:
        if " " in entry and is_declared((entry,), operation, path):
            return entry
    return OTHER
