"""The interface for traces of verified requests, until their answers.

The command that starts a receiver gives an implementation, or none. This room does not know how spans are made.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol


class RequestTrace(Protocol):
    """Follows one request.

    Attributes:
        traceparent: stored with the event, so that its attempts continue the trace.
    """

    traceparent: str

    def ended(self, status: int, outcome: str, event_id: str | None, reason: str | None) -> None:
        """Note the answer.

        Args:
            status: of HTTP.
            outcome, event_id, reason: as the attributes of an `Answer` of the log.
        """


class Tracing(Protocol):
    """Follows the verified requests of one process.

    Attributes:
        headers: names of the headers that it reads, in lower case.
    """

    headers: frozenset[bytes]

    def request(self, headers: Iterable[tuple[bytes, bytes]], /) -> RequestTrace:
        """Follow a request from now on. Its headers are not signed."""
