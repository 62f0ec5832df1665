"""Names of notification types that a user types: which are known, and which one a misspelled name may mean.

A type that we do not know is not refused, since AMPECO may be newer than this release.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from eventlog.log import EventLog
    from receiver.settings import Settings

_SAME_HANDLER = 0.75
"""How alike the name of a handler must be to one that is there; other workers may have handlers of their own."""


def known_types() -> set[str]:
    """Return the types that this release knows: of AMPECO, and of the service itself."""
    from typing import get_args

    from ampeco.catalogue import KNOWN_TYPES, UNCONFIRMED_TYPES
    from handlers.names import InternalName

    return {*KNOWN_TYPES, *UNCONFIRMED_TYPES, *get_args(InternalName)}


def misspelled(name: str, more: Iterable[str] = (), *, surely: bool = False) -> str:
    """Return `; did you mean '...'?` for an unknown type; empty for a known one, and where none is like it.

    Args:
        more: types that are known in addition to those of this release.
        surely: suggest only what is almost the same, where the name may well be that of a newer type.
    """
    from ampeco.nearest import ALIKE, SURELY, did_you_mean

    known = known_types().union(more)
    return "" if name in known else did_you_mean(name, known, alike=SURELY if surely else ALIKE)


async def never_seen(log: EventLog, types: Iterable[str]) -> list[str]:
    """Return a sentence for each of these types of which the log has never had an event."""
    from eventlog.inspection.events import read_counts

    counts = await read_counts(log)
    seen = {*counts.by_type, *counts.internal}
    return [
        f"no event of type {name!r} has ever arrived{misspelled(name, seen)}"
        for name in types
        if name not in seen
    ]


def misspelled_settings(settings: Settings) -> list[str]:
    """Return a sentence for each type in a setting that is like a known one and is none.

    Raises:
        SettingsError: the file with the entity keys cannot be used.
    """
    from receiver.claim import rules_of

    named = [("AWR_NOTIFICATIONS", name) for name in settings.notifications or ()]
    named += [("AWR_ENTITY_KEYS_FILE", name) for name in sorted(rules_of(settings).overridden)]
    return [
        f"{setting} names the unknown type {name!r}{meant}"
        for setting, name in named
        if (meant := misspelled(name, surely=True))
    ]


def misspelled_handlers(settings: Settings, known: Iterable[str]) -> list[str]:
    """Return a sentence for each handler in a setting that is like a known one and is none.

    Other names are not reported: another worker may have that handler.
    """
    from ampeco.nearest import did_you_mean

    there = frozenset(known)
    named = [("AWR_QUEUE_OF", name) for name in settings.queues]
    named += [("AWR_HANDLERS_ALLOW", name) for name in settings.handlers_allow or ()]
    return [
        f"{setting} names the unknown handler {name!r}{meant}"
        for setting, name in named
        if name not in there and (meant := did_you_mean(name, there, alike=_SAME_HANDLER))
    ]
