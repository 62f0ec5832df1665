"""`--part console`: how long pages of the console take over a long log, and what an open page costs the receiver.

One `serve` answers both, so the pages run in the process of the endpoint: the dearest way to have them.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import threading
import time
from collections.abc import Iterator

import redis

from benchmarks import logs, machine
from benchmarks.bodies import SECRET, TYPE, session, signed_requests
from benchmarks.load import WARM_UP_S, drive
from benchmarks.report import Bound, Ratio, Series
from eventlog.registry import Declaration

PAGES = {
    "overview": "/",
    "events": "/events",
    "events of a type that never came": "/events?type=none.such",
    "entity": f"/entity?key=session:{session(0)}",
    "handler": "/handlers/benchmark-0",
    "dead letters": "/dead",
    "line to AMPECO": "/line",
}
EXPECTED_PAGE_MS = 150.0
EXPECTED_CPU = 1.02  # with a page that is open, of that without

_HANDLERS = 5
_TIMES = 20  # that each page is asked for in a round
_PER_S, _SECONDS = 2_000.0, 8.0


def console(redis_url: str, rounds: int, many: int) -> tuple[list[Series], list[Ratio | Bound], list[str]]:
    """Ask for pages, then send events without and with a page that follows them, in turns.

    Args:
        many: events in the log.
    """
    url, port, admin_port = f"{redis_url}?db=9", machine.free_port(), machine.free_port()
    environ = {
        "AWR_REDIS_URL": url,
        "AWR_REGISTER": "off",
        "AWR_SIGNING_KEYS": SECRET,
        "AWR_DURABILITY": "everysec",
        "AWR_LOG_MAX_BYTES": str(8 << 30),
        "AWR_PORT": str(port),
        "AWR_ADMIN_PORT": str(admin_port),
        "AWR_LOG_LEVEL": "warning",
    }
    asyncio.run(_fill(url, many))
    pages = {name: Series(f"page: {name}") for name in PAGES}
    alone, followed = (Series(f"{_PER_S:,.0f} events/s, {with_} page open") for with_ in ("no", "a"))
    used: dict[str, list[float]] = {alone.title: [], followed.title: []}
    with machine.measured(["commands", "serve"], environ) as receiver:
        machine.wait_until_answering(port, receiver, "/health/ready")
        for number in range(rounds):
            for name, series in pages.items():
                _ask(admin_port, PAGES[name], series)
            for at, (series, following) in enumerate(
                ((alone, contextlib.nullcontext()), (followed, _following(admin_port)))
            ):
                first = many + (2 * number + at) * int(2 * _PER_S * _SECONDS)
                requests = signed_requests(first, int(_PER_S * (_SECONDS + WARM_UP_S)))
                with following:
                    began_s = machine.cpu_s(receiver.pid) or 0.0
                    load = drive(port, requests, seconds=_SECONDS, rate=_PER_S)
                    used[series.title].append((machine.cpu_s(receiver.pid) or 0.0) - began_s)
                series.per_s.append(load.per_s)
                series.p50_ms.append(load.quantile_ms(0.5))
                series.p99_ms.append(load.quantile_ms(0.99))
    with redis.Redis.from_url(url) as client:
        client.flushdb()
    slowest = [max(each) for each in zip(*(series.p50_ms for series in pages.values()), strict=True)]
    cost = [with_ / without for with_, without in zip(used[followed.title], used[alone.title], strict=True)]
    return (
        [*pages.values(), alone, followed],
        [
            Bound("slowest page, ms", slowest, EXPECTED_PAGE_MS),
            Bound("processor time, a page open / no page open", cost, EXPECTED_CPU),
        ],
        [f"processor time per round, s: {used}"],
    )


async def _fill(url: str, many: int) -> None:
    async with logs.opened(url) as log:
        await log.declare(
            [
                Declaration(f"benchmark-{number}", "1", (TYPE,), "default", "entity", "oldest")
                for number in range(_HANDLERS)
            ]
        )
    await logs.fill(url, "awr:", many)


def _ask(port: int, path: str, series: Series) -> None:
    """Ask for a page some times, one after the other."""
    took_ms = []
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    for _ in range(_TIMES):
        began_s = time.perf_counter()
        connection.request("GET", f"/console{path}")
        answer = connection.getresponse()
        answer.read()
        took_ms.append((time.perf_counter() - began_s) * 1000)
        if answer.status != 200:
            raise ConnectionError(f"{path}: {answer.status}")
    connection.close()
    took_ms.sort()
    series.per_s.append(1000 * len(took_ms) / sum(took_ms))
    series.p50_ms.append(took_ms[len(took_ms) // 2])
    series.p99_ms.append(took_ms[-1])


@contextlib.contextmanager
def _following(port: int) -> Iterator[None]:
    """Follow the log as a browser with the page Events does: ask for it after each message."""
    over = threading.Event()

    def follow() -> None:
        stream = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        pages = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        stream.request("GET", "/console/live")
        answer = stream.getresponse()
        while not over.is_set():
            if answer.readline().startswith(b"data:"):
                pages.request("GET", "/console/events")
                pages.getresponse().read()
        stream.close()
        pages.close()

    thread = threading.Thread(target=follow)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
