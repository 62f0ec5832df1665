"""A time limit for everything that a thread does on the network, for the client that is not async.

A socket's time-out counts for each read, so a peer that sends a byte a second is never too slow for it. Within
`time_limit`, no read or write waits longer than what is left of the whole. Async code has `asyncio.timeout`.
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any, TypeVar

import httpx2

T = TypeVar("T")
_ends_s: ContextVar[float | None] = ContextVar("ends_s", default=None)


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Let network operations of this thread end with TimeoutError when the block has lasted so long."""
    entered = _ends_s.set(time.monotonic() + seconds)
    try:
        yield
    finally:
        _ends_s.reset(entered)


def limited(http: httpx2.Client) -> httpx2.Client:
    """Let the connections of a client, those to proxies too, obey `time_limit`.

    httpx2 has no public place for the network backend of its pools, so this replaces it where they keep it.
    """
    for transport in (http._transport, *http._mounts.values()):  # noqa: SLF001
        pool = getattr(transport, "_pool", None)  # a transport of a test has none
        if pool is not None:
            pool._network_backend = _Backend(pool._network_backend)  # noqa: SLF001
    return http


def _left_s(timeout_s: float | None) -> float | None:
    ends_s = _ends_s.get()
    if ends_s is None:
        return timeout_s
    left_s = ends_s - time.monotonic()
    if left_s <= 0:
        raise TimeoutError
    return left_s if timeout_s is None else min(left_s, timeout_s)


def _within(work: Callable[..., T], *arguments: Any, timeout: float | None = None, **options: Any) -> T:
    try:
        return work(*arguments, timeout=_left_s(timeout), **options)
    except Exception:
        _left_s(None)  # raises TimeoutError if the whole time is over
        raise


class _Stream:
    """A connection of httpcore2."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        read: bytes = _within(self._inner.read, max_bytes, timeout=timeout)
        return read

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        _within(self._inner.write, buffer, timeout=timeout)

    def start_tls(self, *arguments: Any, **options: Any) -> "_Stream":
        return _Stream(_within(self._inner.start_tls, *arguments, **options))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class _Backend:
    """Opens connections for httpcore2."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def connect_tcp(self, *arguments: Any, **options: Any) -> _Stream:
        return _Stream(_within(self._inner.connect_tcp, *arguments, **options))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)
