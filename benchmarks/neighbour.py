"""`--part neighbour`: what an honest sender notices while another one, with a key, sends the dearest bodies of 1 MiB.

Both have the same receiver. The dear bodies come over a few connections, each the next one after its answer.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

from ampeco.signature import SIGNATURE_HEADER, SigningKey, sign
from benchmarks import machine
from benchmarks.bodies import PATH, SECRET, signed_requests
from benchmarks.load import WARM_UP_S, Load, drive
from benchmarks.report import Bound, Ratio, Series
from benchmarks.worst_bodies import worst

CONNECTIONS = 4
EXPECTED_P99_MS = 250.0

_PER_S = 100.0
_SECONDS = 8.0
_ROOM = str(4 << 30)


def neighbour(redis_url: str, rounds: int, many: int) -> tuple[list[Series], list[Ratio | Bound], list[str]]:
    """Measure an honest sender alone, beside one connection with dear bodies, and beside several."""
    url, port = f"{redis_url}?db=9", machine.free_port()
    environ = {
        "AWR_REDIS_URL": url,
        "AWR_REGISTER": "off",
        "AWR_SIGNING_KEYS": SECRET,
        "AWR_DURABILITY": "everysec",
        "AWR_LOG_MAX_BYTES": _ROOM,
        "AWR_PORT": str(port),
        "AWR_ADMIN_PORT": "0",
        "AWR_LOG_LEVEL": "warning",
    }
    dear = _request(worst()[0][2])
    series = {
        0: Series(f"{_PER_S:,.0f} events/s, alone"),
        1: Series("the same, beside one connection with dear bodies"),
        CONNECTIONS: Series(f"the same, beside {CONNECTIONS} connections with them"),
    }
    served = Series("dear bodies of one connection")
    with machine.measured(["commands", "serve"], environ) as receiver:
        machine.wait_until_answering(port, receiver, "/health/ready")
        for number in range(rounds):
            for connections, found in series.items():
                first = (number * len(series) + list(series).index(connections)) * 10_000
                with _sending(port, dear, connections) as counted:
                    load = _honest(port, first)
                found.per_s.append(load.per_s)
                found.p50_ms.append(load.quantile_ms(0.5))
                found.p99_ms.append(load.quantile_ms(0.99))
                if connections == 1:
                    served.per_s.append(counted[0] / (load.seconds + WARM_UP_S))
    bounds: list[Ratio | Bound] = [
        Bound(f"p99 ms beside {connections} with dear bodies", series[connections].p99_ms, EXPECTED_P99_MS)
        for connections in (1, CONNECTIONS)
    ]
    return [*series.values(), served], bounds, []


def _honest(port: int, first: int) -> Load:
    requests = list(signed_requests(first, int(_PER_S * (_SECONDS + WARM_UP_S + 1))))
    return drive(port, iter(requests), seconds=_SECONDS, rate=_PER_S)


@contextlib.contextmanager
def _sending(port: int, request: bytes, connections: int) -> Iterator[list[int]]:
    """Send a request again and again over each connection; the list holds how many were answered."""
    over, answered = threading.Event(), [0]

    def send() -> None:
        with socket.create_connection(("127.0.0.1", port)) as connection:
            while not over.is_set():
                connection.sendall(request)
                answered[0] += connection.recv(4096).startswith(b"HTTP/1.1 202")

    threads = [threading.Thread(target=send) for _ in range(connections)]
    for thread in threads:
        thread.start()
    try:
        yield answered
    finally:
        over.set()
        for thread in threads:
            thread.join()


def _request(body: bytes) -> bytes:
    signature = sign(body, SigningKey.of(SECRET))
    return (
        f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        f"{SIGNATURE_HEADER}: {signature}\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode() + body
