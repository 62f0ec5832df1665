"""Our notification subscription at AMPECO: compare what exists with what is wanted, and change the difference.

- `reconcile` is pure. It gives up only released types; other unwanted types stay subscribed, and the plan names them.
- Subscribe is not idempotent at AMPECO: each call adds a subscription. So nothing is created before listing.
- AMPECO announces some facts under an older and a newer type. We subscribe one: both would make two events.

It knows nothing of HTTP requests or events. Of handlers it knows only the types that they want.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlsplit

from ampeco.catalogue import KNOWN_TYPES, SUBSCRIBABLE
from ampeco.errors import Invalid
from eventlog.internal import is_internal

EVERYTHING = "*"


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


class Notifications(Protocol):
    """The calls to AMPECO that this module makes."""

    async def list(self) -> Sequence[Existing]: ...
    async def subscribe(self, notifications: Sequence[str], *, callback_url: str) -> Existing: ...
    async def update(self, id: str, notifications: Sequence[str], *, callback_url: str) -> object: ...
    async def unsubscribe(self, id: str) -> object: ...


@dataclass(frozen=True)
class Plan:
    """The difference between what exists and what is wanted.

    Attributes:
        keep: id of our notification subscription; None when there is none yet.
        types: the types that it is to deliver. Empty when nothing is wanted; then nothing changes.
        change: whether `keep` must be updated, or a new one created.
        extras: ids of further ones with our callback URL, to be removed.
        unwanted: types that stay subscribed although no handler wants them.
    """

    keep: str | None = None
    types: tuple[str, ...] = ()
    change: bool = False
    extras: tuple[str, ...] = ()
    unwanted: tuple[str, ...] = ()

    @property
    def action(self) -> str:
        """The plan in one word, for the log."""
        if not self.types:
            return "nothing"
        if self.keep is None:
            return "create"
        return "update" if self.change else "keep"


def subscribable(wanted: Iterable[str]) -> frozenset[str]:
    """Return wanted types as Subscribe takes them: `*` spelled out, our own types left out."""
    types = set(wanted)
    if EVERYTHING in types:
        types = (types - {EVERYTHING}) | SUBSCRIBABLE
    return frozenset(name for name in types if not is_internal(name))


def newer(name: str) -> frozenset[str]:
    """Return the types that replace a deprecated one; empty if there are none."""
    known = KNOWN_TYPES.get(name)
    return frozenset(known.superseded_by) if known is not None else frozenset()


def one_spelling(wants: Iterable[Iterable[str]], refused: frozenset[str] = frozenset()) -> frozenset[str]:
    """Return the types to subscribe, so that a fact arrives under one of its two spellings.

    A handler that takes both spellings gets the newer one. It gets the older one if AMPECO refuses the newer, or if
    another handler takes only the older. If one handler takes only the older and one only the newer, both are
    subscribed.

    Args:
        wants: the types of each handler.
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
    """Return unwanted types that only repeat the facts of wanted ones."""
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
    """Plan the difference.

    Args:
        existing: all notification subscriptions of the tenant.
        wanted: types as Subscribe takes them (`subscribable`); when empty, nothing is planned.
        known_id: the id stored as ours. It is preferred when several have our callback URL.
        released: types of retired handlers, other spellings of wanted ones, and refused ones. Only these are given
            up, unless a handler wants them.
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


def refused(
    sent: Sequence[str], error: Invalid, *, replaceable: frozenset[str] = frozenset()
) -> frozenset[str]:
    """Return the types that a 422 refuses.

    If the answer names no element of the list, the types that no list of AMPECO's has are suspected. If there are
    none, the replaceable ones are.

    Args:
        sent: the types as sent, in order.
        replaceable: types that could be left out because their other spelling is subscribed instead.

    Source: `errors` maps fields to texts (confirmed). That an element is named `notifications.<index>` is inferred.
    """
    prefix = "notifications."
    places = {field.removeprefix(prefix) for field in error.errors if field.startswith(prefix)}
    named = {sent[int(place)] for place in places if place.isdecimal() and int(place) < len(sent)}
    if named or not any(field.startswith("notifications") for field in error.errors):
        return frozenset(named)
    return (frozenset(sent) - SUBSCRIBABLE) or (frozenset(sent) & replaceable)


def _address(url: str) -> tuple[object, ...]:
    """Return a value that is equal for equal callback URLs. For a text that is not a URL, the text itself."""
    try:
        parts = urlsplit(url)
        port = parts.port or {"https": 443, "http": 80}.get(parts.scheme)
    except ValueError:
        return (url,)
    return parts.scheme, parts.hostname, port, parts.path.rstrip("/"), parts.query
