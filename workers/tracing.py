"""The interface for traces of attempts, and of the calls to AMPECO in them.

The command that starts a worker gives an implementation, or none. This room does not know how spans are made.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

from ampeco.connection import CallTrace
from ampeco.operations import Operation
from eventlog.record import StoredEvent


class AttemptTrace(Protocol):
    """Follows one attempt. A `def` handler calls it in another thread."""

    def call(self, operation: Operation, label: str) -> CallTrace:
        """Follow one call to AMPECO from now on.

        Args:
            label: name of the operation without ids.
        """

    def ended(self, kind: str, reason: str) -> None:
        """Note how the attempt ended; arguments as the attributes of an `Outcome`."""


class Tracing(Protocol):
    """Follows the attempts of one process."""

    def attempt(self, handler: str, number: int, event: StoredEvent) -> AbstractContextManager[AttemptTrace]:
        """Follow one attempt during a block, which continues the trace of the event.

        Args:
            number: 1 for the first attempt.
        """

    def close(self) -> None:
        """Send the remaining spans, within two seconds at most."""
