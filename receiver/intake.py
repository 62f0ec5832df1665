"""Turns a verified delivery into an element of the log, and appends it.

It decides type and key of the event, and whether an equal body is a duplicate. It never loses verified bytes: a
body that cannot be read goes to the quarantine with its reason. It knows nothing of HTTP and Redis.
"""

from __future__ import annotations

import contextlib
import gc
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Final

from ampeco.errors import PayloadError
from ampeco.notifications import DEFAULT_RULES, EntityKeyRules, recognize
from eventlog.log import Answer, Element, NewEvent, Unreadable
from eventlog.record import written_mark
from receiver.group_commit import Answered, GroupCommit
from receiver.logging import get_logger
from receiver.verification import VerifiedDelivery

RESERVED = "receiver."
"""Prefix of our own types. A request with such a type goes to the quarantine."""

LARGE_BYTES: Final = 1 << 16
"""Size above which a body is read without garbage collections."""

_NOT_OURS: Final = Answer("refused", reason="log-unavailable")
_EVICTING: Final = Answer("refused", reason="redis-evicts")
_log = get_logger(__name__)


class Intake:
    """Appends verified deliveries to the log."""

    def __init__(
        self,
        commit: GroupCommit,
        *,
        rules: EntityKeyRules = DEFAULT_RULES,
        is_open: Callable[[], bool] = lambda: True,
        evicts: Callable[[], bool] = lambda: False,
    ) -> None:
        """
        Args:
            rules: name the payload field with the entity key.
            is_open: returns whether the log is known to be ours.
            evicts: returns whether Redis might delete what is appended.
        """
        self._commit = commit
        self._rules = rules
        self._is_open = is_open
        self._evicts = evicts

    def accept(self, delivery: VerifiedDelivery, answered: Answered) -> None:
        """Read a delivery and append it.

        Args:
            answered: called once with the outcome. `refused` means: not in the log, or unknown whether it is.
        """
        if not self._is_open():
            answered(_NOT_OURS)
        elif self._evicts():
            answered(_EVICTING)
        else:
            self._commit.append(self.read(delivery), answered)

    def read(self, delivery: VerifiedDelivery) -> Element:
        """Return the element for the log: an event, or an entry for the quarantine. Never raises."""
        if len(delivery.body) <= LARGE_BYTES:
            return self._read(delivery)
        with _no_collections():
            return self._read(delivery)

    def _read(self, delivery: VerifiedDelivery) -> Element:
        try:
            arrived = datetime.fromtimestamp(delivery.received_at_ms / 1000, UTC)
            found = recognize(delivery.body, rules=self._rules, received_at=arrived)
        except PayloadError as error:
            return _unreadable(delivery, error.reason)
        except Exception as error:  # noqa: BLE001 - our own fault must not lose a verified event
            _log.error("event.unreadable", error=type(error).__name__)
            return _unreadable(delivery, "parser-failed")
        if found.type.startswith(RESERVED):
            return _unreadable(delivery, "reserved-type")
        return NewEvent(
            found.type,
            found.key,
            delivery.body,
            delivery.received_at_ms,
            delivery.key_id,
            duplicates="mark" if found.occurred_at is None else "drop",
            mark=written_mark("stale" if delivery.stale else "", found.occurred_at),
            nonce=os.urandom(12),
        )


@contextlib.contextmanager
def _no_collections() -> Iterator[None]:
    """Stop the cyclic garbage collector for a moment.

    A body of 1 MiB can hold half a million arrays. The collector would visit them again and again while they are
    made: 0.4 s of processor time, in which no other request is answered, instead of 0.1 s. They hold no cycles.
    """
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if running:
            gc.enable()


def _unreadable(delivery: VerifiedDelivery, reason: str) -> Unreadable:
    return Unreadable(delivery.body, reason, delivery.received_at_ms, delivery.key_id)
