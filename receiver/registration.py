"""Our notification subscription at AMPECO: compare what exists with what is wanted, and change the difference.

- `reconcile` is pure. It gives up only released types; other unwanted types stay subscribed, and the plan names them.
- A listing names no key. So of several subscriptions for our URL, one is removed only if a key signs it that no
receiver accepts any more, by our own record or the header `X-Webhook-Id`.
- Subscribe is not idempotent at AMPECO: each call adds a subscription. So nothing is created before listing.

It knows nothing of HTTP requests or events. Which types are wanted is decided in `subscribed_types.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar
from urllib.parse import urlsplit


class Existing(Protocol):
    """A notification subscription as AMPECO lists it."""

    @property
    def id(self) -> str: ...
    @property
    def via(self) -> str: ...  # `webhook` or `kafka`
    @property
    def notifications(self) -> tuple[str, ...]: ...
    @property
    def callback_url(self) -> str | None: ...


E = TypeVar("E", bound=Existing)


class Notifications(Protocol):
    """The calls to AMPECO that this module makes."""

    async def list(self) -> Sequence[Existing]: ...
    async def subscribe(self, notifications: Sequence[str], *, callback_url: str) -> Existing: ...
    async def update(self, id: str, notifications: Sequence[str], *, callback_url: str) -> object: ...
    async def unsubscribe(self, id: str) -> object: ...


@dataclass(frozen=True)
class Known:
    """What the log knows of our notification subscriptions.

    Attributes:
        id: the one stored as ours.
        callback_url: the URL with which it was stored.
        covers: the types that AMPECO confirmed at the last check.
        keys: by id of a subscription, the keys that are known to sign its events.
        accepted: ids of the keys that a live receiver accepts.
        held: why nothing may be removed now; empty if something may be.
    """

    id: str | None = None
    callback_url: str | None = None
    covers: frozenset[str] = frozenset()
    keys: Mapping[str, frozenset[str]] = field(default_factory=dict)
    accepted: frozenset[str] = frozenset()
    held: str = ""

    def is_mute(self, subscription_id: str) -> bool:
        """Return whether all that a subscription delivers is refused: its keys are accepted by no receiver."""
        keys = self.keys.get(subscription_id, frozenset())
        return bool(keys) and bool(self.accepted) and not keys & self.accepted


NOTHING_KNOWN = Known()


@dataclass(frozen=True)
class Plan:
    """The difference between what exists and what is wanted.

    Attributes:
        keep: id of our notification subscription; None when there is none yet.
        types: the types that it is to deliver. Empty when nothing is wanted; then nothing changes.
        change: whether `keep` must be updated, or a new one created.
        extras: ids of further ones that are ours, to be removed.
        left: ids of further ones with our callback URL that stay, since no record says that they may go.
        unwanted: types that stay subscribed although no handler wants them.
        adds, drops: what an update changes.
        lost: types that AMPECO had confirmed, and that no subscription for our URL has now.
        moved_from: the URL to which `keep` delivers until now.
    """

    keep: str | None = None
    types: tuple[str, ...] = ()
    change: bool = False
    extras: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    unwanted: tuple[str, ...] = ()
    adds: tuple[str, ...] = ()
    drops: tuple[str, ...] = ()
    lost: frozenset[str] = frozenset()
    moved_from: str | None = None

    @property
    def action(self) -> str:
        """The plan in one word, for the log."""
        if not self.types:
            return "nothing"
        if self.keep is None:
            return "create"
        return "update" if self.change else "keep"

    @property
    def changes(self) -> bool:
        """Whether carrying it out changes anything at AMPECO."""
        return self.change or bool(self.extras)


def reconcile(
    existing: Iterable[Existing],
    wanted: frozenset[str],
    callback_url: str,
    *,
    known: Known = NOTHING_KNOWN,
    released: frozenset[str] = frozenset(),
    remove: frozenset[str] = frozenset(),
) -> Plan:
    """Plan the difference.

    Args:
        existing: all notification subscriptions of the tenant.
        wanted: types as Subscribe takes them (`subscribable`); when empty, nothing is planned.
        known: what the log knows of ours.
        released: types of retired handlers, other spellings of wanted ones, and refused ones. Only these are given
            up, unless a handler wants them.
        remove: ids that an operator wants removed. Others than those for our URL are ignored.
    """
    if not wanted:
        return Plan()
    listed = [one for one in existing if one.via == "webhook" and one.callback_url]
    ours = for_url(listed, callback_url)
    # Ours, with the URL of an earlier configuration, or with one that was typed in at AMPECO.
    elsewhere = [one for one in listed if one.id == known.id and one not in ours]
    useful = [one for one in ours if one.id not in remove and not known.is_mute(one.id)]
    kept = max(useful or elsewhere, key=lambda one: _worth(one, wanted, known), default=None)
    former = [one for one in elsewhere if same_url(one.callback_url, known.callback_url)]
    gone = [
        one
        for one in (*ours, *former)
        if one is not kept
        and (one.id in remove or (not known.held and (one in former or known.is_mute(one.id))))
    ]
    now = frozenset(kept.notifications) if kept else frozenset()
    replaced = frozenset(name for one in gone for name in one.notifications)
    types = ((now | replaced) - released) | wanted
    moved_from = kept.callback_url if kept in elsewhere and kept is not None else None
    return Plan(
        keep=kept.id if kept else None,
        types=tuple(sorted(types)),
        change=types != now or moved_from is not None,
        extras=tuple(one.id for one in gone),
        left=tuple(one.id for one in ours if one is not kept and one not in gone),
        unwanted=tuple(sorted(types - wanted)),
        adds=tuple(sorted(types - now)),
        drops=tuple(sorted(now - types)),
        lost=(known.covers & wanted).difference(*(one.notifications for one in useful)),
        moved_from=moved_from,
    )


def _worth(one: Existing, wanted: frozenset[str], known: Known) -> tuple[bool, int]:
    return one.id == known.id, len(wanted.intersection(one.notifications))


async def apply(plan: Plan, notifications: Notifications, callback_url: str) -> str | None:
    """Carry out a plan; return the id of our notification subscription, or None when nothing was wanted.

    Extras are removed last, so that every type stays subscribed meanwhile.

    Raises:
        ampeco.errors.ApiError: a call failed. It is safe to list and plan again.
    """
    kept = plan.keep
    if kept is None and plan.types:
        kept = (await notifications.subscribe(plan.types, callback_url=callback_url)).id
    elif kept is not None and plan.change:
        await notifications.update(kept, plan.types, callback_url=callback_url)
    for extra in plan.extras:
        await notifications.unsubscribe(extra)
    return kept


def for_url(existing: Iterable[E], callback_url: str) -> list[E]:
    """Return the notification subscriptions that deliver to a callback URL."""
    return [one for one in existing if one.via == "webhook" and same_url(one.callback_url, callback_url)]


def same_url(one: str | None, other: str | None) -> bool:
    """Return whether two callback URLs lead to the same place."""
    return bool(one and other) and _address(str(one)) == _address(str(other))


def _address(url: str) -> tuple[object, ...]:
    """Return a value that is equal for equal callback URLs. For a text that is not a URL, the text itself."""
    try:
        parts = urlsplit(url)
        port = parts.port or {"https": 443, "http": 80}.get(parts.scheme)
    except ValueError:
        return (url,)
    return parts.scheme, parts.hostname, port, parts.path.rstrip("/"), parts.query
