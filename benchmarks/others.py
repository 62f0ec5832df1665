"""Processor time that processes outside the benchmark use, and rounds that count only where it was little."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

MOST = 0.1  # of one core

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_IDLE, _WAITING, _STOLEN = 3, 4, 7  # columns of /proc/stat
_COLUMNS = 8

Figures = TypeVar("Figures")


class Others:
    """Processor time of the whole system without this process and those it started."""

    def __init__(self) -> None:
        self._since = time.monotonic(), self._used_s()

    def share(self) -> float:
        """Return how much of one core they used since the beginning; 0 where the system does not say."""
        since_s, before_s = self._since
        return max(0.0, self._used_s() - before_s) / (time.monotonic() - since_s)

    def _used_s(self) -> float:
        try:
            fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
        except OSError:
            return 0.0
        idle = (_IDLE, _WAITING, _STOLEN)
        busy = sum(ticks for column, ticks in enumerate(fields[:_COLUMNS]) if column not in idle)
        return busy / _TICKS_PER_S - _ours_s()


def quiet_rounds(
    measure: Callable[[], Figures], rounds: int, limit_s: float
) -> tuple[list[Figures], list[str]]:
    """Measure until so many rounds count, or the time is over.

    A round is void where others used over a tenth of a core. Where all are, all count after all, and a note says so.

    Returns:
        The figures of the rounds that count, and notes for people.
    """
    began_s = time.monotonic()
    quiet: list[Figures] = []
    void: list[Figures] = []
    shares: list[float] = []
    while len(quiet) < rounds and (not shares or time.monotonic() - began_s < limit_s):
        others = Others()
        figures = measure()
        share = others.share()
        shares.append(share)
        (quiet if share <= MOST else void).append(figures)
        print(
            f"round {len(shares)}: load average {os.getloadavg()[0]:.2f}, others used {share:.2f} of a core, "
            f"{'void' if share > MOST else 'counts'}",
            file=sys.stderr,
            flush=True,
        )
    used = ", ".join(f"{share:.2f}" for share in shares)
    notes = [f"Of {len(shares)} rounds {len(void)} were void. Others used of one core: {used}."]
    if not quiet:
        notes.append("EVERY ROUND WAS VOID: these figures are of rounds in which others were at work.")
    return quiet or void, notes


def _ours_s() -> float:
    """Processor time of this process, and of all that it started, those that ended included."""
    times: dict[int, tuple[int, float]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue  # it has ended
            times[int(folder.name)] = int(fields[1]), sum(map(int, fields[11:15])) / _TICKS_PER_S
    ours = {os.getpid()}
    while more := {pid for pid, (parent, _) in times.items() if parent in ours} - ours:
        ours |= more
    return sum(times[pid][1] for pid in ours if pid in times)
