"""Memory of processes over a long run: sampled once a second, and compared by quarters."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean

EVERY_S = 1.0


class Memory:
    """Samples processes in a thread of its own, inside the block.

    Args:
        pids: process id by the name of the process.
    """

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._pids = pids
        self._samples: dict[str, list[float]] = {name: [] for name in pids}
        self._ended: set[str] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> Memory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def quarter_mib(self, name: str, number: int) -> float:
        """Return the mean of a quarter of the run, 1 to 4, in MiB.

        Raises:
            RuntimeError: the process ended during the run.
        """
        if name in self._ended:
            raise RuntimeError(f"{name} ended during the run")
        samples = self._samples[name]
        first, last = ((number - 1) * len(samples) // 4, number * len(samples) // 4)
        return fmean(samples[first:last])

    def _sample(self) -> None:
        while not self._stop.is_set():
            for name, pid in self._pids.items():
                try:
                    self._samples[name].append(resident_mib(pid))
                except (OSError, StopIteration):  # gone, or a zombie
                    self._ended.add(name)
            self._stop.wait(EVERY_S)


def resident_mib(pid: int) -> float:
    """Return what a process has in RAM now, in MiB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))


def children_of(pid: int) -> list[int]:
    """Return the processes that this one has started."""
    found: list[int] = []
    for thread in Path(f"/proc/{pid}/task").iterdir():
        found += map(int, (thread / "children").read_text().split())
    return found
