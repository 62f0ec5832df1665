"""Turns a verified delivery into an element of the log, and appends it.

It decides type and key of the event, and whether an equal body is a duplicate. It never loses verified bytes: a
body that cannot be read goes to the quarantine with its reason. It knows nothing of HTTP and Redis.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from ampeco.errors import PayloadError
from ampeco.names import NAME_MAX_BYTES
from ampeco.notifications import DEFAULT_RULES, EntityKeyRules, recognize
from eventlog.log import Answer, Element, NewEvent, Unreadable
from eventlog.record import written_mark
from receiver.group_commit import Answered, GroupCommit
from receiver.large_bodies import LARGE_BYTES, Turns
from receiver.logging import get_logger
from receiver.verification import VerifiedDelivery

RESERVED = "receiver."
"""Prefix of our own types. A request with such a type goes to the quarantine."""

_NOT_OURS: Final = Answer("refused", reason="log-unavailable")
_EVICTING: Final = Answer("refused", reason="redis-evicts")
_TOO_MUCH: Final = Answer("refused", reason="too-much-at-once")
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
        heard: Callable[[str, str, int], None] = lambda key_id, type_, at_ms: None,
    ) -> None:
        """
        Args:
            rules: name the payload field with the entity key.
            is_open: returns whether the log is known to be ours.
            evicts: returns whether Redis might delete what is appended.
            heard: called with the key and the type of each verified body, and when it arrived (Unix ms).
        """
        self._commit = commit
        self._rules = rules
        self._is_open = is_open
        self._evicts = evicts
        self._heard = heard
        self._turns = Turns()

    def accept(self, delivery: VerifiedDelivery, answered: Answered) -> None:
        """Read a delivery and append it.

        Args:
            answered: called once with the outcome. `refused` means: not in the log, or unknown whether it is.
        """
        if not self._is_open():
            answered(_NOT_OURS)
        elif self._evicts():
            answered(_EVICTING)
        elif len(delivery.body) <= LARGE_BYTES:
            self._commit.append(self.read(delivery), answered)
        elif not self._turns.add(
            len(delivery.body), lambda: self._commit.append(self.read(delivery), answered)
        ):
            answered(_TOO_MUCH)

    def read(self, delivery: VerifiedDelivery) -> Element:
        """Return the element for the log: an event, or an entry for the quarantine. Never raises."""
        try:
            arrived = datetime.fromtimestamp(delivery.received_at_ms / 1000, UTC)
            found = recognize(delivery.body, rules=self._rules, received_at=arrived)
        except PayloadError as error:
            return _unreadable(delivery, error.reason)
        except Exception as error:  # noqa: BLE001 - our own fault must not lose a verified event
            _log.error("event.unreadable", error=type(error).__name__)
            return _unreadable(delivery, "parser-failed")
        self._heard(delivery.key_id, found.type, delivery.received_at_ms)
        if found.type.startswith(RESERVED):
            return _unreadable(delivery, "reserved-type")
        if len(found.type) * 4 > NAME_MAX_BYTES and len(found.type.encode()) > NAME_MAX_BYTES:
            return _unreadable(delivery, "type-too-long")
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


def _unreadable(delivery: VerifiedDelivery, reason: str) -> Unreadable:
    return Unreadable(delivery.body, reason, delivery.received_at_ms, delivery.key_id)
