"""The types to subscribe, for what handlers want and what AMPECO refuses.

AMPECO announces some facts under an older and a newer type. We subscribe one: both would make two events. Of handlers
this module knows only the types that they want.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ampeco.catalogue import KNOWN_TYPES, SUBSCRIBABLE
from ampeco.errors import Invalid
from eventlog.internal import is_internal

EVERYTHING = "*"


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
