"""How long an honest sender waits for its answer while a sender without a signature attacks the same port."""

from __future__ import annotations

import socket
import time

import redis

from benchmarks import machine
from benchmarks.attacks import ATTACKS, peak_mib, under
from benchmarks.bodies import SECRET, signed_requests
from benchmarks.report import Bound, Ratio, Series

RATE_PER_S = 20.0
_AT_MOST_MS = 250.0
_AT_MOST_MIB = 128.0


def attacked(redis_url: str, rounds: int, many: int) -> tuple[list[Series], list[Ratio | Bound], list[str]]:
    """Send events to one receiver, each on a new connection, during each attack in turn and during none.

    Args:
        many: events of each attack.
    """
    url = f"{redis_url}?db=10"
    found = {name: Series(f"honest sender, attack: {name}") for name in ("none", *ATTACKS)}
    port = machine.free_port()
    environ = {
        "AWR_REDIS_URL": url,
        "AWR_REGISTER": "off",
        "AWR_SIGNING_KEYS": SECRET,
        "AWR_DURABILITY": "everysec",
        "AWR_PORT": str(port),
        "AWR_ADMIN_PORT": "0",
        "AWR_LOG_LEVEL": "error",
    }
    peaks, first = [], 0
    with machine.measured(["commands", "serve"], environ) as process:
        machine.wait_until_answering(port, process, "/health/ready")
        for _ in range(rounds):
            for name, series in found.items():
                if name == "none":
                    _measure(port, first, many, series)
                else:
                    with under(name, port):
                        _measure(port, first, many, series)
                first += many
            peaks.append(peak_mib(process.pid))
    with redis.Redis.from_url(url) as client:
        client.flushdb()
    worst = [max(each) for each in zip(*(series.p99_ms for series in found.values()), strict=True)]
    return (
        list(found.values()),
        [
            Bound("p99 of the honest sender, worst attack, ms", worst, _AT_MOST_MS),
            Bound("most memory of the receiver, MiB", peaks, _AT_MOST_MIB),
        ],
        [],
    )


def _measure(port: int, first: int, many: int, series: Series) -> None:
    """Send events at a steady pace; what was due while another one waited waits as well, and that counts."""
    started = time.perf_counter()
    waited = []
    for number, request in enumerate(signed_requests(first, many)):
        due = started + number / RATE_PER_S
        time.sleep(max(0.0, due - time.perf_counter()))
        with socket.create_connection(("127.0.0.1", port), 10) as connection:
            connection.sendall(request)
            answer = connection.recv(4096)
        if not answer.startswith(b"HTTP/1.1 202"):
            raise ConnectionError(f"instead of 202: {answer[:60]!r}")
        waited.append((time.perf_counter() - due) * 1000)
    series.per_s.append(many / (time.perf_counter() - started))
    waited.sort()
    series.p50_ms.append(waited[len(waited) // 2])
    series.p99_ms.append(waited[int(0.99 * len(waited))])
