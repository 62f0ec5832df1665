"""Appends verified deliveries to the log, large ones in turns, and none while the log may not be ours.

It never loses verified bytes: a body that cannot be read goes to the quarantine with its reason. It knows nothing of
HTTP and Redis, nor what a body means.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ampeco.encodings import GZIP, MOST_BYTES, plain_size
from ampeco.notifications import DEFAULT_RULES, EntityKeyRules
from eventlog.log import Answer, Element, NewEvent
from receiver.elements import ElementReader
from receiver.group_commit import Answered, GroupCommit
from receiver.large_bodies import LARGE_BYTES, Turns
from receiver.verification import VerifiedDelivery

_NOT_OURS: Final = Answer("refused", reason="log-unavailable")
_EVICTING: Final = Answer("refused", reason="redis-evicts")
_UNREADABLE: Final = "(unreadable)"
_TOO_MUCH: Final = Answer("refused", reason="too-much-at-once")


class Intake:
    """Appends verified deliveries to the log."""

    def __init__(
        self,
        commit: GroupCommit,
        *,
        rules: EntityKeyRules = DEFAULT_RULES,
        max_body_bytes: int = MOST_BYTES,
        is_open: Callable[[], bool] = lambda: True,
        evicts: Callable[[], bool] = lambda: False,
        heard: Callable[[str, str, int], None] = lambda key_id, type_, at_ms: None,
    ) -> None:
        """
        Args:
            rules: name the payload field with the entity key.
            max_body_bytes: how much of a packed body is unpacked.
            is_open: returns whether the log is known to be ours.
            evicts: returns whether Redis might delete what is appended.
            heard: called with the key and the type of each verified body, and when it arrived (Unix ms).
        """
        self._commit = commit
        self.read = ElementReader(rules, most_bytes=max_body_bytes).read
        self._max_body_bytes = max_body_bytes
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
        elif len(delivery.body) <= LARGE_BYTES and not delivery.body.startswith(GZIP):
            self._commit.append(self._element(delivery), answered)
        else:
            self._accept_large(delivery, answered)

    def _accept_large(self, delivery: VerifiedDelivery, answered: Answered) -> None:
        """Read it in its turn if it is large, or will be once it is unpacked."""
        size = min(plain_size(delivery.body), max(self._max_body_bytes, len(delivery.body)))
        if size <= LARGE_BYTES:
            self._commit.append(self._element(delivery), answered)
        elif not self._turns.add(size, lambda: self._commit.append(self._element(delivery), answered)):
            answered(_TOO_MUCH)

    def _element(self, delivery: VerifiedDelivery) -> Element:
        element = self.read(delivery)
        type_ = element.type if isinstance(element, NewEvent) else _UNREADABLE
        self._heard(delivery.key_id, type_, delivery.received_at_ms)
        if delivery.traceparent and isinstance(element, NewEvent):
            return element._replace(traceparent=delivery.traceparent)
        return element
