"""The open connections of one port: how many may be open, and which of them is closed, when and why.

A sender without a signature decides how many connections it opens and what it sends on them. So each of them has
limits, and all together have one. It knows nothing of HTTP's syntax; `bounded_http.py` counts the bytes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from heapq import nsmallest
from typing import Any, Protocol

from prometheus_client import CollectorRegistry

from receiver import descriptors
from receiver.logging import get_logger
from receiver.metrics import ConnectionMetrics
from receiver.settings import Settings

_AT_ONCE = 16  # a full port closes this fraction at once, so that a flood of new connections stays cheap
_USUAL = frozenset(("idle",))


@dataclass(frozen=True)
class ConnectionLimits:
    """Limits on what an unverified sender may do before the body of a request.

    Attributes:
        head_bytes: size of a request line and its headers; also of what a chunked body has in addition to its data.
        headers: number of headers, and of trailers.
        head_s: time for a head, in seconds, from the connection or from its first byte.
        open: number of connections. A further one closes those that were silent longest. The default is for an
            admin port: its users are probes, Prometheus and operators.
        waiting: number of requests on a connection that have no answer yet.
        early_bytes: bytes of a connection that arrive before the previous answer on the fast path.
        linger_s, linger_bytes: for how long, and how many bytes are discarded after a refusal. A connection
            closed with unread bytes is reset, and the sender might never see the answer.
    """

    head_bytes: int = 16 << 10
    headers: int = 100
    head_s: float = 10.0
    open: int = 128
    waiting: int = 16
    early_bytes: int = 16 << 10
    linger_s: float = 1.0
    linger_bytes: int = 1 << 20


def limits_of(settings: Settings) -> ConnectionLimits:
    """Return the limits of an admin port."""
    return ConnectionLimits(
        head_bytes=settings.max_head_bytes,
        headers=settings.max_headers,
        head_s=settings.head_timeout_s,
        waiting=settings.max_pipelined,
    )


class Connection(Protocol):
    """What the limits need to know of a connection.

    Attributes:
        due_s: loop time at which it must be closed.
        answered_s: loop time of the last answer, or of the connection.
    """

    due_s: float
    answered_s: float

    @property
    def is_at_work(self) -> bool:
        """Whether a request has arrived completely and waits for its answer."""
        ...

    def expire(self) -> None:
        """Close it, since its time is over."""
        ...

    def end(self, reason: str) -> None:
        """Close it without an answer."""
        ...


class Connections:
    """The open connections of one port.

    Attributes:
        limits: limits on each, and on all of them.
    """

    def __init__(
        self,
        port: str = "public",
        limits: ConnectionLimits | None = None,
        *,
        metrics: ConnectionMetrics | None = None,
        refused: Callable[[str], None] = lambda reason: None,
        log: Any = None,
    ) -> None:
        """
        Args:
            port: `public` or `admin`, for metrics and log lines.
            refused: called with the reason of each refusal that this port answers itself.
        """
        self.limits = limits or ConnectionLimits()
        self._port = port
        self._metrics = metrics or ConnectionMetrics(CollectorRegistry())
        self._refused = refused
        self._log = log if log is not None else get_logger(__name__)
        self._open: set[Connection] = set()
        self._closed: Counter[str] = Counter()  # since the last log line

    def opened(self, connection: Connection) -> None:
        """Count a new connection. If there are too many, close those that were silent longest."""
        self._open.add(connection)
        if len(self._open) > self.limits.open:
            silent = [one for one in self._open if one is not connection and not one.is_at_work]
            count = max(1, self.limits.open // _AT_ONCE)
            for one in nsmallest(count, silent, key=_answered_s) or [connection]:
                one.end("too-many-connections")

    def lost(self, connection: Connection) -> None:
        """Forget a connection that is closed."""
        self._open.discard(connection)

    def closed(self, reason: str) -> None:
        """Count a connection that we close."""
        self._metrics.closed.labels(self._port, reason).inc()
        self._closed[reason] += 1

    def refused(self, reason: str) -> None:
        """Count a request that is refused before its body; its connection is closed."""
        self.closed(reason)
        self._refused(reason)

    def sweep(self, now_s: float) -> None:
        """Close what is overdue, and log what was closed. Called once a second.

        Args:
            now_s: the loop's time.
        """
        for connection in [one for one in self._open if one.due_s <= now_s]:
            connection.expire()
        self._metrics.open.labels(self._port).set(len(self._open))
        closed, self._closed = self._closed, Counter()
        if unusual := {reason: count for reason, count in closed.items() if reason not in _USUAL}:
            self._log.warning("connections.closed", port=self._port, reasons=unusual, open=len(self._open))


def connections_of(
    settings: Settings, metrics: ConnectionMetrics, refused: Callable[[str], None]
) -> tuple[Connections, Connections]:
    """Return the connections of the public port and of the admin port of one process.

    Args:
        refused: called with the reason of each refusal of the public port.
    """
    most = descriptors.for_senders(settings.max_connections)
    if most < settings.max_connections:
        get_logger(__name__).warning(
            "connections.limited", wanted=settings.max_connections, limit=most, reserved=descriptors.RESERVED
        )
    limits = limits_of(settings)
    senders = Connections("public", replace(limits, open=most), metrics=metrics, refused=refused)
    return senders, Connections("admin", limits, metrics=metrics)


def _answered_s(connection: Connection) -> float:
    return connection.answered_s
