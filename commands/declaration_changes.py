"""Compares a new declaration of a handler with the older one that the log knows.

Each rule describes what a change means for the handler's events and records. A rule is for one item of the
declaration, so a new item needs a line in `_RULES`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from eventlog.entity_records import TIMER, is_timer
from eventlog.internal import is_wanted

if TYPE_CHECKING:
    from eventlog.registry import HandlerPosition

_ALIKE = 0.75
"""How alike the names of two handlers with the same types must be for one to be the other one renamed."""


@dataclass(frozen=True)
class Change:
    """One change.

    Attributes:
        loses: whether it loses records: the position or once-only steps. Such a change is a fault.
    """

    handler: str
    says: str
    loses: bool = False


def _types(before: Collection[str], after: Collection[str]) -> str | None:
    wanted = _without_name(after)
    gone = sorted(each for each in _without_name(before) if not is_wanted(wanted, each))
    if not gone:
        return None
    return f"no longer wants {', '.join(gone)}: such events that still wait are settled as not wanted"


def _order(before: str, after: str) -> str | None:
    if before == after:
        return None
    what = {
        "none": "events of one entity may run at the same time",
        "latest": "of several events of a type and entity that wait, only the newest runs",
        "entity": "an event that is retried holds back the later ones of its entity",
    }.get(after, "")
    return f"order= was {before!r} and is {after!r}: {what}"


def _queue(before: str, after: str) -> str | None:
    from handlers.declaration import ISOLATED

    was = before.removesuffix(ISOLATED)  # a worker of the plain queue serves it, too
    return None if was == after else f"queue= was {was!r}: its events wait until a worker serves {after!r}"


def _key(before: str | None, after: str | None) -> str | None:
    if before == after:
        return None
    was, now = (repr(name) if name else "not set" for name in (before, after))
    kept = "once-only steps per entity, states and slots of throttles"
    return f"key= was {was} and is {now}: the {kept} of the old keys are not found again"


_RULES: Mapping[str, Callable[[Any, Any], str | None]] = {
    "types": _types,
    "order": _order,
    "queue": _queue,
    "key": _key,
}
"""Item of a declaration -> the meaning of a change, from the values before and after; None for no change."""

_LOSING = frozenset({"key"})
"""The items of which a change loses what is recorded, as once-only steps."""


def changes(
    recorded: Sequence[HandlerPosition], declared: Sequence[Mapping[str, Any]], installed: Collection[str]
) -> Iterator[Change]:
    """Compare declarations with those of the log.

    Args:
        recorded: the handlers of the log.
        declared: the handlers that were checked, as `handlers check` describes them.
        installed: the names of all handlers that were found.
    """
    before = {each.name: each for each in recorded}
    for now in declared:
        name = str(now["name"])
        if name in before:
            yield from _changed(before[name], now)
        elif (
            old := _renamed(name, now, [each for each in recorded if each.name not in installed])
        ) is not None:
            yield Change(
                name,
                f"is new to the log, and {old} of the log is not installed here: if it was renamed, it loses its "
                f"position and its once-only steps; `handlers rename {old} {name}` keeps them",
                loses=True,
            )


def _changed(before: HandlerPosition, now: Mapping[str, Any]) -> Iterator[Change]:
    for item, rule in _RULES.items():
        if said := rule(getattr(before, item), now[item]):
            yield Change(before.name, said, item in _LOSING)


def _renamed(name: str, now: Mapping[str, Any], gone: Sequence[HandlerPosition]) -> str | None:
    """Return the handler of the log that this new one seems to have been: of the same types, with a similar name."""
    from ampeco.nearest import nearest

    wanted = _without_name(now["types"])
    same = [each.name for each in gone if _without_name(each.types) == wanted]
    return nearest(name, same, alike=_ALIKE)


def _without_name(types: Iterable[str]) -> set[str]:
    """Return the types without the name of the handler, which ends the type of its timers."""
    return {TIMER.rstrip(":") if is_timer(each) else each for each in types}
