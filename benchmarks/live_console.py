"""`--part live`: what an open page that follows the log costs a receiver under a steady load."""

from __future__ import annotations

import contextlib
import http.client
import threading
from collections.abc import Iterator
from statistics import median
from time import perf_counter

from benchmarks import machine
from benchmarks.bodies import SECRET, signed_requests
from benchmarks.load import WARM_UP_S, drive
from benchmarks.memory import children_of
from benchmarks.report import Bound, Ratio, Series
from console.application import MOUNTED_AT

RATE_PER_S = 2_000.0
AT_MOST_PERCENT = 2.0

_SECONDS = 10.0
_ROOM = str(4 << 30)


class Reader:
    """A browser with a page of events open: it fetches the page whenever the stream says that something arrived."""

    def __init__(self, port: int) -> None:
        self.ms: list[float] = []
        self._port = port
        self._stream = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self._stream.request("GET", f"{MOUNTED_AT}/live")
        self._answer = self._stream.getresponse()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def _follow(self) -> None:
        with contextlib.suppress(OSError, ValueError, http.client.HTTPException, AttributeError):
            while line := self._answer.readline():
                if line.startswith(b"data:"):
                    self.fetch()

    def fetch(self) -> None:
        """Ask for the page."""
        began = perf_counter()
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        connection.request("GET", f"{MOUNTED_AT}/events")
        connection.getresponse().read()
        connection.close()
        self.ms.append((perf_counter() - began) * 1000)

    def close(self) -> None:
        """Close the page."""
        if (sock := self._stream.sock) is not None:
            with contextlib.suppress(OSError):
                sock.shutdown(2)
        self._thread.join(10)
        self._stream.close()


def live(redis_url: str, rounds: int, many: int) -> tuple[list[Series], list[Ratio | Bound], list[str]]:
    """Send events at a steady rate, with and without an open page in turns, to one process and to two."""
    series: list[Series] = []
    bounds: list[Ratio | Bound] = []
    notes: list[str] = []
    for number, (title, arguments) in enumerate(
        {"serve": (), "serve --processes 2": ("--processes", "2")}.items()
    ):
        alone, followed = Series(f"{title}, no page open"), Series(f"{title}, a page follows the log")
        url = f"{redis_url}?db={12 + number}"
        with _receiver(url, arguments) as (port, admin, pids):
            with contextlib.closing(Reader(admin)) as reader:
                reader.fetch()  # templates and scripts are loaded
            first, fetched = 0, []
            for _ in range(rounds):
                for found in (alone, followed):
                    ms = _round(port, admin if found is followed else None, pids, first, found)
                    fetched += ms
                    first += int(RATE_PER_S * (_SECONDS + WARM_UP_S + 2))
        more = [100 * (b - a) for a, b in zip(alone.busy, followed.busy, strict=True)]
        share = [100 * (b / a - 1) for a, b in zip(alone.busy, followed.busy, strict=True)]
        series += [alone, followed]
        bounds += [
            Bound(f"{title}: an open page costs receivers, % of a core", more, AT_MOST_PERCENT),
            Bound(f"{title}: the same, % of what they use", share, AT_MOST_PERCENT),
        ]
        spread = 100 * (max(alone.busy) - min(alone.busy))
        notes.append(
            f"{title}: {len(fetched)} fetches, median {median(fetched):.1f} ms; without a page the rounds differ "
            f"by {spread:.1f} % of a core."
        )
    return series, bounds, notes


def _round(port: int, admin: int | None, pids: list[int], first: int, series: Series) -> list[float]:
    """Measure one round; return how long each fetch of the page took."""
    requests = iter(list(signed_requests(first, int(RATE_PER_S * (_SECONDS + WARM_UP_S + 1)))))
    reader = None if admin is None else Reader(admin)
    began_s, used_s = perf_counter(), _used_s(pids)
    load = drive(port, requests, seconds=_SECONDS, rate=RATE_PER_S, in_turn=True)
    series.busy.append((_used_s(pids) - used_s) / (perf_counter() - began_s))
    series.per_s.append(load.per_s)
    series.p50_ms.append(load.quantile_ms(0.5))
    series.p99_ms.append(load.quantile_ms(0.99))
    if reader is None:
        return []
    reader.close()
    return reader.ms


def _used_s(pids: list[int]) -> float:
    return sum(machine.cpu_s(pid) or 0.0 for pid in pids)


@contextlib.contextmanager
def _receiver(url: str, arguments: tuple[str, ...]) -> Iterator[tuple[int, int, list[int]]]:
    """Run a receiver; yield its public port, its admin port, and the processes that take events."""
    port, admin = machine.free_port(), machine.free_port()
    environ = {
        "AWR_REDIS_URL": url,
        "AWR_REGISTER": "off",
        "AWR_SIGNING_KEYS": SECRET,
        "AWR_DURABILITY": "everysec",
        "AWR_LOG_MAX_BYTES": _ROOM,
        "AWR_PORT": str(port),
        "AWR_ADMIN_PORT": str(admin),
        "AWR_LOG_LEVEL": "error",
    }
    with machine.measured(["commands", "serve", *arguments], environ) as process:
        machine.wait_until_answering(port, process, "/health/ready")
        machine.wait_until_answering(admin, process, f"{MOUNTED_AT}/help")
        yield port, admin, children_of(process.pid) or [process.pid]
