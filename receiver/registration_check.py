"""The data of a check of the registration: the calls it makes, what is wanted, what it finds, what it changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from eventlog.registration_record import Registration
from eventlog.replicas import Heard, Replica
from eventlog.rotation import Rotation
from eventlog.subscription import Closed
from receiver.registration import Existing, Known, Plan

REGISTERED = "registered"
NOTHING_WANTED = "nothing-wanted"
REMOVED = "removed"
TWO_URLS = "two-urls"


class Notifications(Protocol):
    """The calls to AMPECO that a check makes; `key_id` names the token that made a subscription."""

    async def list(self) -> Sequence[Existing]: ...
    async def subscribe(self, notifications: Sequence[str], *, callback_url: str) -> Existing: ...
    async def update(
        self, id: str, notifications: Sequence[str], *, callback_url: str, key_id: str = ""
    ) -> object: ...
    async def unsubscribe(self, id: str, *, key_id: str = "") -> object: ...


@dataclass(frozen=True)
class Access:
    """How to reach AMPECO, and the id of the key that AMPECO will sign with."""

    notifications: Notifications
    key_id: str


@dataclass(frozen=True)
class Wanted:
    """What is to be subscribed.

    Attributes:
        handlers: the types of each registered handler, by its name.
        types: the types to subscribe.
        released: types that are given up, unless they are wanted.
    """

    handlers: Mapping[str, frozenset[str]]
    types: frozenset[str]
    released: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Look:
    """The findings of a check, before anything is changed.

    Attributes:
        existing: all notification subscriptions that AMPECO shows.
        stored: ours, as the log has it.
        foreign: live receivers of this log with the URL that our subscription has, which is not ours. While there
            are any, nothing is changed.
    """

    existing: tuple[Existing, ...]
    stored: Mapping[str, str]
    registration: Registration
    heard: Heard
    known: Known
    wanted: Wanted
    plan: Plan
    foreign: tuple[Replica, ...]
    rotation: Rotation | None

    @property
    def is_adopted(self) -> bool:
        """Whether the subscription that is kept was not made by this log, as far as it knows."""
        kept = self.plan.keep
        return kept is not None and kept not in self.known.keys and kept != self.stored.get("id")


@dataclass(frozen=True)
class Done:
    """The result of a check.

    Attributes:
        state: one word.
        kept: id of our subscription, if there is one.
        key_id: the key that it signs with; empty if unknown.
        closed: the gaps that ended with it.
    """

    state: str
    kept: str | None = None
    key_id: str = ""
    closed: Closed = field(default_factory=Closed)


def foreign_words(look: Look) -> str:
    """Name the receivers that have another URL."""
    names = ", ".join(one.name for one in look.foreign)
    urls = ", ".join(sorted({one.url for one in look.foreign}))
    return f"receivers of the same log have the URL {urls}: {names}"


class KeyedCalls:
    """Calls that change a subscription, each with the token that made it."""

    def __init__(self, notifications: Notifications, known: Known) -> None:
        self._calls = notifications
        self._known = known

    async def list(self) -> Sequence[Existing]:
        return await self._calls.list()

    async def subscribe(self, notifications: Sequence[str], *, callback_url: str) -> Existing:
        return await self._calls.subscribe(notifications, callback_url=callback_url)

    async def update(self, id: str, notifications: Sequence[str], *, callback_url: str) -> Any:
        return await self._calls.update(id, notifications, callback_url=callback_url, key_id=self._key(id))

    async def unsubscribe(self, id: str) -> Any:
        return await self._calls.unsubscribe(id, key_id=self._key(id))

    def _key(self, id: str) -> str:
        return min(self._known.keys.get(id, frozenset()), default="")
