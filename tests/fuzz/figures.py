"""What a run of a fuzzer counted and found."""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

SHOWN = 5
GROWTH_BYTES = 48 << 20
"""Growth of memory above which a long run fails. Caches that fill, and the allocator's own room, are below."""


@dataclass(frozen=True)
class Finding:
    """Something that must not happen.

    Attributes:
        round: number of the round, for `--only-round`.
        what: one line.
        sent: bytes that reproduce it.
    """

    round: int
    what: str
    sent: bytes


@dataclass
class Figures:
    """Counts of one fuzzer.

    Attributes:
        name: `http`, `sockets` or `payload`.
        outcomes: statuses, and other outcomes that are counted.
        allowed: name of a wanted difference -> how often something differed for it.
        warm_bytes: memory when it was warm; 0 before.
    """

    name: str
    rounds: int = 0
    requests: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    allowed: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)
    started_s: float = field(default_factory=time.monotonic)
    warm_bytes: int = 0
    end_bytes: int = 0

    def found(self, number: int, what: str, sent: bytes) -> None:
        """Note a finding, and say so at once."""
        print(f"{self.name}, round {number}: {what[:500]}", file=sys.stderr, flush=True)
        self.findings.append(Finding(number, what, sent))

    def warm(self, pid: int | str = "self") -> None:
        """Take the memory of a process as the start."""
        self.warm_bytes = resident_bytes(pid)

    def end(self, pid: int | str = "self") -> None:
        """Take the memory of a process as the end."""
        self.end_bytes = resident_bytes(pid)
        if self.warm_bytes and self.end_bytes - self.warm_bytes > GROWTH_BYTES:
            self.found(-1, f"memory grew from {self.warm_bytes >> 20} to {self.end_bytes >> 20} MiB", b"")

    def lines(self) -> list[str]:
        """Return the figures for people."""
        seconds = time.monotonic() - self.started_s
        per_s = self.requests / max(seconds, 0.001)
        counted = ", ".join(f"{name}: {many:,}" for name, many in sorted(self.outcomes.items()))
        lines = [
            f"{self.name}: {self.requests:,} requests in {self.rounds:,} rounds, {per_s:,.0f} a second",
            f"  outcomes   {counted}",
            f"  memory     {self.warm_bytes >> 20} MiB when warm, {self.end_bytes >> 20} MiB at the end",
        ]
        lines += [f"  allowed    {many:,} times: {name}" for name, many in sorted(self.allowed.items())]
        lines.append(f"  findings   {len(self.findings)}")
        for one in self.findings[:SHOWN]:
            lines += [f"    round {one.round}: {one.what}", f"      {one.sent[:2000]!r}"]
        return lines


def resident_bytes(pid: int | str) -> int:
    """Return the resident memory of a process; 0 where the system does not say."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0
