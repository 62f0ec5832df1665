"""One notification type as data, and short ways to write it for the catalogue.

An entity is a word and the paths of its id; the first path at which a payload has an id counts.
"""

from dataclasses import dataclass, replace
from typing import Literal

Entity = tuple[str, tuple[str, ...]]
Confidence = Literal["confirmed", "unknown"]


@dataclass(frozen=True, slots=True)
class KnownType:
    """One notification type.

    Attributes:
        model: module in `ampeco.models` and class of the payload.
        entities: (entity, paths of its id), in the order to try them. `a.b` is field b of object a.
        times: paths of the notification's own time, tried before the general ones; `a[].b` means b of each
            element, the newest counts.
        confidence: confirmed = the contract has the payload; unknown = only the type string is certain.
        deprecated: the contract says so; None where it does not describe the type.
        superseded_by: the type that replaces this one; at most one.
        subscribable: whether Subscribe accepts it.
    """

    model: str
    entities: tuple[Entity, ...]
    times: tuple[str, ...] = ()
    confidence: Confidence = "confirmed"
    deprecated: bool | None = False
    superseded_by: tuple[str, ...] = ()
    subscribable: bool = True


_TIMES = ("lastUpdatedAt", "updatedAt", "timestamp")


def id_of(noun: str, entity: str = "", *others: str) -> Entity:
    """A related entity in the payload: by its id, as a nested object, or as a bare id under its noun."""
    return (entity or noun, (f"{noun}Id", f"{noun}.id", noun, *others))


def own(noun: str, entity: str = "", *others: str) -> Entity:
    """The entity that the payload is about: its id may also lie at the top."""
    return id_of(noun, entity, "id", *others)


def carried(noun: str, entity: str = "") -> Entity:
    """The entity whose object the payload carries."""
    return (entity or noun, (f"{noun}.id", noun, f"{noun}Id", "id"))


def flat(noun: str, entity: str, *others: str) -> Entity:
    """The entity whose fields lie at the top of the payload."""
    return (entity, ("id", f"{noun}Id", f"{noun}.id", noun, *others))


def since(noun: str) -> tuple[str, ...]:
    """The time of a payload that carries an object: its own, else the object's."""
    return ("lastUpdatedAt", f"{noun}.lastUpdatedAt", f"{noun}.updatedAt")


def deprecated(known: KnownType, *superseded_by: str) -> KnownType:
    """Return a type that the contract calls deprecated."""
    return replace(known, deprecated=True, superseded_by=superseded_by)


def undocumented(known: KnownType, *superseded_by: str) -> KnownType:
    """Return a type of which the contract has nothing but its string."""
    return replace(known, confidence="unknown", deprecated=None, superseded_by=superseded_by)


def time_paths(known: KnownType) -> tuple[str, ...]:
    """Paths of a notification's own time, in the order to try them."""
    return (*known.times, *(path for path in _TIMES if path not in known.times))
