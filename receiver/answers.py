"""Answers of the endpoint: the one table of reasons and statuses, and how an answer looks as bytes."""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

RETRY_AFTER_S = 5

HEAD_TOO_LARGE: Final = "head-too-large"
HEAD_TOO_SLOW: Final = "head-too-slow"
MALFORMED: Final = "request-malformed"
TOO_MANY_WAITING: Final = "too-many-waiting"
TRAILERS_TOO_LARGE: Final = "trailers-too-large"

STATUS: Final = {
    MALFORMED: 400,
    TRAILERS_TOO_LARGE: 400,
    "method-not-allowed": 405,
    "content-type-not-json": 415,
    "body-too-large": 413,
    "body-too-slow": 408,
    HEAD_TOO_SLOW: 408,
    TOO_MANY_WAITING: 429,
    HEAD_TOO_LARGE: 431,
    "signature-missing": 401,
    "signature-malformed": 401,
    "signature-mismatch": 401,
    "signature-stale": 401,
    "timestamp-missing": 401,
    "timestamp-malformed": 401,
}
"""Reason of a refusal -> HTTP status. All other reasons are our own faults: 503, the sender tries again."""

_UNAVAILABLE = 503

Headers = list[tuple[bytes, bytes]]


class Reply(NamedTuple):
    """An answer. None of ours has a body."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]


@lru_cache(maxsize=64)
def refusal(reason: str, *, close: bool = False) -> Reply:
    """Return the answer to a request that is refused.

    Args:
        reason: a slug from our code, never text of a request.
        close: whether the connection is closed after it.
    """
    status = STATUS.get(reason, _UNAVAILABLE)
    headers: Headers = []
    if status == 405:
        headers.append((b"allow", b"POST"))
    if status in (429, _UNAVAILABLE):
        headers.append((b"retry-after", str(RETRY_AFTER_S).encode()))
    if close:
        headers.append((b"connection", b"close"))
    return reply_of(status, *headers)


def reply_of(status: int, *headers: tuple[bytes, bytes]) -> Reply:
    """Return an answer without a body."""
    return Reply(status, headers if status == 204 else ((b"content-length", b"0"), *headers))


def rendered(reply: Reply, added: Headers) -> bytes:
    """Return an answer as bytes; `added` are the headers that uvicorn adds (the date)."""
    lines = [b"%b: %b\r\n" % header for header in (*added, *reply.headers)]
    return b"".join([STATUS_LINE[reply.status], *lines, b"\r\n"])
