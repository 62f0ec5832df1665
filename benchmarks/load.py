"""A load generator for one core: ready-made requests over keep-alive sockets, one in flight on each.

It knows only enough HTTP to find the end of an answer without a body. So it is cheaper than what it measures.
"""

from __future__ import annotations

import gc
import selectors
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from time import perf_counter

CONNECTIONS = 128
WARM_UP_S = 0.3

_OK = b"HTTP/1.1 20"  # 202 from us, 200 from most others
_END = b"\r\n\r\n"


@dataclass(frozen=True)
class Load:
    """What came back after the warm-up.

    Attributes:
        latencies_ms: sorted; from the moment a request was due to be sent until its answer.
    """

    answered: int
    seconds: float
    latencies_ms: list[float]

    @property
    def per_s(self) -> float:
        return self.answered / self.seconds

    def quantile_ms(self, share: float) -> float:
        """Latency that this share of the answers did not exceed."""
        return self.latencies_ms[min(len(self.latencies_ms) - 1, int(share * len(self.latencies_ms)))]


def drive(
    port: int, requests: Iterator[bytes], *, seconds: float, rate: float | None = None, in_turn: bool = False
) -> Load:
    """Send until the time is over or the requests are used up, then wait for the open answers.

    Args:
        port: of a server on this machine.
        requests: ready-made, head and body.
        seconds: how long to send, after the warm-up.
        rate: requests per second; None sends the next one as soon as an answer is in.
        in_turn: use the connections in turn. Otherwise some stay unused at a low rate, and a server closes them.

    Raises:
        ConnectionError: the server closed a connection, or answered with another status than 200 and 202.
    """
    with ExitStack() as stack:
        selector = stack.enter_context(selectors.DefaultSelector())
        idle = []
        for _ in range(CONNECTIONS):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.setblocking(False)
            selector.register(connection, selectors.EVENT_READ)
            idle.append(connection)
        gc.collect()
        gc.disable()
        try:
            return _drive(selector, idle, requests, seconds + WARM_UP_S, rate, 0 if in_turn else -1)
        finally:
            gc.enable()


def _drive(
    selector: selectors.BaseSelector,
    idle: list[socket.socket],
    requests: Iterator[bytes],
    seconds: float,
    rate: float | None,
    next_idle: int,
) -> Load:
    started = last = perf_counter()
    counts_from, stops_at = started + WARM_UP_S, started + seconds
    sent: dict[object, float] = {}
    latencies: list[float] = []
    number = 0
    over = False
    while True:
        now = perf_counter()
        over = over or now >= stops_at
        while idle and not over:
            due = started + number / rate if rate else now
            if due > now:
                break
            request = next(requests, None)
            if request is None:
                over = True
                break
            connection = idle.pop(next_idle)
            connection.send(request)
            sent[connection] = due
            number += 1
        if over and not sent:
            break
        for ready, _ in selector.select(0.001 if rate else 1.0):
            connection = ready.fileobj  # type: ignore[assignment]
            answer = connection.recv(4096)
            if not (answer.startswith(_OK) and answer.endswith(_END)):
                raise ConnectionError(f"instead of 20x without a body: {answer[:60]!r}")
            last = perf_counter()
            due = sent.pop(connection)
            idle.append(connection)
            if due >= counts_from:
                latencies.append((last - due) * 1000)
    latencies.sort()
    return Load(len(latencies), last - counts_from, latencies)
