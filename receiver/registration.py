"""Our notification subscription at AMPECO: compare what exists with what is wanted, change the difference.

`reconcile` is pure and shrinks by nothing but what it is given as released: any other type that no handler wants
any more stays subscribed and is named in the plan. Subscribe is not idempotent at AMPECO (each call adds one), so
nothing is created before listing. AMPECO announces some facts under two types, an older and a newer spelling: of
the two one is subscribed, or every such fact would be two events. It knows nothing of HTTP requests, of events
or of handlers beyond the types they want.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlsplit

from ampeco.catalogue import KNOWN_TYPES, SUBSCRIBABLE
from ampeco.errors import Invalid

EVERYTHING = "*"
OURS = "receiver."


class Existing(Protocol):
    """A notification subscription as AMPECO lists it."""

    @property
    def id(self) -> str:
        """Its id at AMPECO."""

    @property
    def via(self) -> str:
        """`webhook` or `kafka`."""

    @property
    def notifications(self) -> tuple[str, ...]:
        """The subscribed types."""

    @property
    def callback_url(self) -> str | None:
        """Where it delivers."""


class Notifications(Protocol):
    """The calls to AMPECO that are needed here."""

    async def list(self) -> Sequence[Existing]:
        """All notification subscriptions."""

    async def subscribe(self, notifications: Sequence[str], *, callback_url: str) -> Existing:
        """Add one."""

    async def update(self, id: str, notifications: Sequence[str], *, callback_url: str) -> object:
        """Replace the types of one."""

    async def unsubscribe(self, id: str) -> object:
        """Remove one."""


@dataclass(frozen=True)
class Plan:
    """The difference between what exists and what is wanted.

    Attributes:
        keep: id of the notification subscription that is and stays ours; None when there is none.
        types: what it shall deliver; empty when nothing is wanted, and then nothing is done.
        change: whether `keep` must be told, or a new one created.
        extras: ids of others with our callback URL, to be removed.
        unwanted: types that stay subscribed although no handler wants them.
    """

    keep: str | None = None
    types: tuple[str, ...] = ()
    change: bool = False
    extras: tuple[str, ...] = ()
    unwanted: tuple[str, ...] = ()

    @property
    def action(self) -> str:
        """In one word, for the log."""
        if not self.types:
            return "nothing"
        if self.keep is None:
            return "create"
        return "update" if self.change else "keep"


def subscribable(wanted: Iterable[str]) -> frozenset[str]:
    """Wanted types as Subscribe takes them: everything spelled out, our own left out."""
    types = set(wanted)
    if EVERYTHING in types:
        types = (types - {EVERYTHING}) | SUBSCRIBABLE
    return frozenset(name for name in types if not name.startswith(OURS))


def newer(name: str) -> frozenset[str]:
    """The types that together say what a deprecated one says; empty where there are none."""
    known = KNOWN_TYPES.get(name)
    return frozenset(known.superseded_by) if known is not None else frozenset()


def one_spelling(wants: Iterable[Iterable[str]], refused: frozenset[str] = frozenset()) -> frozenset[str]:
    """What to subscribe for handlers, so that a fact arrives under one of its two spellings.

    A handler that takes both gets the newer one; the older one where AMPECO refuses the newer, or where another
    handler takes only the older. Both are subscribed when one handler takes only the older and one only the newer.

    Args:
        wants: types of each handler.
        refused: types that Subscribe does not accept.
    """
    either: dict[str, frozenset[str]] = {}
    needed: set[str] = set()
    for types in map(subscribable, wants):
        pairs = {old: newer(old) for old in types if newer(old) and newer(old) <= types}
        either |= pairs
        needed |= types.difference(pairs, *pairs.values())
    needed -= refused
    for old, new in either.items():
        if old not in needed and not new <= needed:
            needed |= {old} if new & refused and old not in refused else new - refused
    return frozenset(needed)


def other_spellings(wanted: frozenset[str]) -> frozenset[str]:
    """Types that no handler wants and that say only what wanted ones say."""
    found: set[str] = set()
    for old in KNOWN_TYPES:
        new = newer(old)
        if old in wanted:
            found |= new
        elif new and new <= wanted:
            found.add(old)
    return frozenset(found - wanted)


def reconcile(
    existing: Iterable[Existing],
    wanted: frozenset[str],
    callback_url: str,
    *,
    known_id: str | None = None,
    released: frozenset[str] = frozenset(),
) -> Plan:
    """Plan what has to change.

    Args:
        existing: all notification subscriptions of the tenant.
        wanted: types as Subscribe takes them (`subscribable`); when empty, nothing is planned.
        callback_url: ours.
        released: types of retired handlers, other spellings of wanted ones, and refused ones; they alone are given
            up, unless a handler wants them.
        known_id: id that we remember as ours; it is preferred when several have our callback URL.
    """
    if not wanted:
        return Plan()
    address = _address(callback_url)
    ours = [
        one
        for one in existing
        if one.via == "webhook" and one.callback_url and _address(one.callback_url) == address
    ]
    if not ours:
        return Plan(types=tuple(sorted(wanted)), change=True)
    kept = max(ours, key=lambda one: (one.id == known_id, len(wanted.intersection(one.notifications))))
    subscribed = frozenset(name for one in ours for name in one.notifications)
    types = (subscribed - released) | wanted
    return Plan(
        keep=kept.id,
        types=tuple(sorted(types)),
        change=types != frozenset(kept.notifications),
        extras=tuple(one.id for one in ours if one.id != kept.id),
        unwanted=tuple(sorted(types - wanted)),
    )


async def apply(plan: Plan, notifications: Notifications, callback_url: str) -> str | None:
    """Carry out a plan; extras go last, so that no type is without a subscription in between.

    Returns:
        The id of our notification subscription, or None when nothing was wanted.

    Raises:
        ampeco.errors.ApiError: a call failed; planning anew from a fresh list is safe.
    """
    kept = plan.keep
    if kept is None and plan.types:
        kept = (await notifications.subscribe(plan.types, callback_url=callback_url)).id
    elif kept is not None and plan.change:
        await notifications.update(kept, plan.types, callback_url=callback_url)
    for extra in plan.extras:
        await notifications.unsubscribe(extra)
    return kept


def refused(
    sent: Sequence[str], error: Invalid, *, replaceable: frozenset[str] = frozenset()
) -> frozenset[str]:
    """Which of the types sent a tenant does not know, as far as its 422 tells.

    Args:
        replaceable: types that could be left out for their other spelling.

    Source: `errors` maps fields to texts (confirmed); that an element of a list is named `notifications.<index>`
    is inferred. Where no element is named, the types that no list of AMPECO's has are suspected; without any, the
    replaceable ones.
    """
    prefix = "notifications."
    places = {field.removeprefix(prefix) for field in error.errors if field.startswith(prefix)}
    named = {sent[int(place)] for place in places if place.isdecimal() and int(place) < len(sent)}
    if named or not any(field.startswith("notifications") for field in error.errors):
        return frozenset(named)
    return (frozenset(sent) - SUBSCRIBABLE) or (frozenset(sent) & replaceable)


def _address(url: str) -> tuple[object, ...]:
    """What makes two callback URLs the same; of one that is no URL, its text."""
    try:
        parts = urlsplit(url)
        port = parts.port or {"https": 443, "http": 80}.get(parts.scheme)
    except ValueError:
        return (url,)
    return parts.scheme, parts.hostname, port, parts.path.rstrip("/"), parts.query
