"""`python -m benchmarks.versions REF`: processor time per event of this tree against that of a commit before it.

Both versions run as real processes on one Valkey, in turns, so that a disturbance meets both. Only commands,
settings and the handler contract are used, which both versions share. The endpoint accepts a fixed number of events;
the worker drains them, and its handler reads its own process's time.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import redis

from benchmarks import machine
from benchmarks.bodies import SECRET, signed_requests
from benchmarks.load import drive
from benchmarks.valkey import server

ROOT = Path(__file__).parents[1]
EVENTS = 20_000
SKIPPED = 5_000  # of the drain: start-up, and what is read ahead
_DRAIN_LIMIT_S = 120.0

_HANDLER = """
import os, time
from pathlib import Path
from ampeco.notifications import SessionMeterValues
from handlers import Context, Event, handler

seen, begun, clock = 0, 0.0, 0.0

@handler("{name}", start="oldest")
async def counted(event: Event[SessionMeterValues], ctx: Context) -> None:
    global seen, begun, clock
    seen += 1
    if seen == {skipped}:
        begun, clock = time.process_time(), time.perf_counter()
    elif seen == {events}:
        spent, passed = time.process_time() - begun, time.perf_counter() - clock
        Path("{report}").write_text(f"{{spent}} {{passed}}")
"""


class Version:
    """One tree, with a log of its own.

    Attributes:
        accept_us: processor microseconds of the endpoint per accepted event, one figure a round.
        drain_us: the same of the worker per settled event.
        drain_per_s: deliveries per second by the clock, one figure a round.
    """

    def __init__(self, name: str, tree: Path, redis_url: str) -> None:
        self.name = name
        self.accept_us: list[float] = []
        self.drain_us: list[float] = []
        self.drain_per_s: list[float] = []
        self._tree = tree
        self._environ = {
            "AWR_REDIS_URL": redis_url,
            "AWR_KEY_PREFIX": f"versions-{name}:",
            "AWR_REGISTER": "off",
            "AWR_SIGNING_KEYS": SECRET,
            "AWR_DURABILITY": "everysec",
            "AWR_ADMIN_PORT": "0",
            "AWR_LOG_LEVEL": "warning",
            "PYTHONPATH": str(tree),
        }

    def accept(self, requests: list[bytes]) -> None:
        """Let the endpoint accept these requests."""
        port = machine.free_port()
        with self._started(["serve"], AWR_PORT=str(port)) as process:
            machine.wait_until_answering(port, process, "/health/ready")
            before = machine.cpu_s(process.pid) or 0.0
            drive(port, iter(requests), seconds=_DRAIN_LIMIT_S)
            after = machine.cpu_s(process.pid) or 0.0
        self.accept_us.append((after - before) / len(requests) * 1e6)

    def drain(self, folder: Path, round_number: int) -> None:
        """Let a worker settle everything that was accepted in this round."""
        report = folder / f"{self.name}-{round_number}"
        loaded = folder / f"{self.name}_{round_number}.py"
        name = f"counted-{self.name}-{round_number}"
        loaded.write_text(_HANDLER.format(name=name, skipped=SKIPPED, events=EVENTS, report=report))
        with self._started(["worker", "--load", str(loaded)], AWR_HANDLERS_ALLOW=name):
            deadline = time.monotonic() + _DRAIN_LIMIT_S
            while not (report.exists() and report.read_text()):
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{self.name}: the worker did not drain {EVENTS} events in time")
                time.sleep(0.05)
        spent_s, passed_s = map(float, report.read_text().split())
        self.drain_us.append(spent_s / (EVENTS - SKIPPED) * 1e6)
        self.drain_per_s.append((EVENTS - SKIPPED) / passed_s)

    @contextmanager
    def _started(self, arguments: list[str], **environ: str) -> Iterator[subprocess.Popen[bytes]]:
        where = Path.cwd()
        os.chdir(self._tree)  # `-m` looks here first
        try:
            with machine.measured(["receiver", *arguments], {**self._environ, **environ}) as process:
                yield process
        finally:
            os.chdir(where)


def main() -> None:
    """Measure and print medians with their spread."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.versions", description=__doc__)
    parser.add_argument("ref", help="the commit to compare with")
    parser.add_argument("--rounds", type=int, default=7, help="each version is measured so often (7)")
    options = parser.parse_args()
    machine.share_cores()
    with tempfile.TemporaryDirectory(prefix="awr-versions-") as folder, server() as url:
        before = _checked_out(options.ref, Path(folder) / "before")
        versions = [Version("before", before, url), Version("after", ROOT, url)]
        for number in range(options.rounds):
            print(f"round {number + 1} of {options.rounds}", file=sys.stderr, flush=True)
            requests = list(signed_requests(number * EVENTS, EVENTS))
            for version in versions if number % 2 == 0 else versions[::-1]:
                version.accept(requests)
                version.drain(Path(folder), number)
                with redis.Redis.from_url(url) as client:
                    client.flushdb()
    for what in ("accept_us", "drain_us", "drain_per_s"):
        old, new = (getattr(version, what) for version in versions)
        print(
            f"{what:12}before {_spread(old)}  after {_spread(new)}  "
            f"ratio of medians {median(new) / median(old):.3f}"
        )


def _spread(figures: list[float]) -> str:
    return f"{median(figures):8.1f} ({min(figures):.1f}-{max(figures):.1f})"


def _checked_out(ref: str, folder: Path) -> Path:
    folder.mkdir()
    archive = subprocess.run(["git", "archive", ref], cwd=ROOT, check=True, capture_output=True).stdout
    subprocess.run(["tar", "-x", "-C", str(folder)], input=archive, check=True)
    return folder


if __name__ == "__main__":
    main()
