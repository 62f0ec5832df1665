"""The way of a verified delivery into the log.

It decides what a body is called in the log, and whether an equal one is a duplicate. It refuses to know HTTP
and Redis, and it never loses verified bytes: what cannot be read goes to the quarantine with its reason.
"""

from __future__ import annotations

import os
from collections.abc import Callable
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
"""Types that start like this are ours; from outside they are not believed."""

_NOT_OURS: Final = Answer("refused", reason="log-unavailable")
_log = get_logger(__name__)


class Intake:
    """Takes verified deliveries into the log."""

    def __init__(
        self,
        commit: GroupCommit,
        *,
        rules: EntityKeyRules = DEFAULT_RULES,
        is_open: Callable[[], bool] = lambda: True,
    ) -> None:
        """
        Args:
            rules: which payload field is the entity key.
            is_open: False as long as it is not known that the log is ours.
        """
        self._commit = commit
        self._rules = rules
        self._is_open = is_open

    def accept(self, delivery: VerifiedDelivery, answered: Answered) -> None:
        """Read a delivery and append it.

        Args:
            answered: told once what became of it; `refused` with a reason where it is not in the log, or nobody
                knows.
        """
        if self._is_open():
            self._commit.append(self.read(delivery), answered)
        else:
            answered(_NOT_OURS)

    def read(self, delivery: VerifiedDelivery) -> Element:
        """Bytes as a record for the log: an event, or something for the quarantine. Never raises."""
        try:
            arrived = datetime.fromtimestamp(delivery.received_at_ms / 1000, UTC)
            found = recognize(delivery.body, rules=self._rules, received_at=arrived)
        except PayloadError as error:
            return _unreadable(delivery, error.reason)
        except Exception as error:  # noqa: BLE001 - a fault of ours must not cost a verified event
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


def _unreadable(delivery: VerifiedDelivery, reason: str) -> Unreadable:
    return Unreadable(delivery.body, reason, delivery.received_at_ms, delivery.key_id)
