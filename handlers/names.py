"""Names that a declaration may hold: the known ones as types, and `other` for newer ones."""

from __future__ import annotations

from typing import Literal, TypeAlias

from ampeco.literals import ActionName, NotificationName


class Other(str):
    """A name that our facts do not list."""

    __slots__ = ()


def other(name: str) -> Other:
    """Name a notification type or an action that is newer than this release.

    A type checker refuses `calls=["charge-point.rset"]` as a misspelled name; it takes `calls=[other("POST
    /public-api/actions/charge-point/v9.0/{chargePoint}/wash")]`. At run time it is the text.
    """
    return Other(name)


InternalName: TypeAlias = Literal[
    "receiver.delivery.dead",
    "receiver.gap.closed",
    "receiver.gap.opened",
    "receiver.handler.behind",
    "receiver.handler.faulty",
    "receiver.handler.paused",
    "receiver.log.full",
    "receiver.quarantine.added",
    "receiver.registration.changed",
    "receiver.registration.failed",
    "receiver.shape.drifted",
    "receiver.started",
]
"""An event that this service makes itself."""

TypeName: TypeAlias = NotificationName | InternalName | Literal["*", "receiver.timer"] | Other
"""What `on=` may hold: a notification type, an event of this service, `receiver.timer` for the handler's own timers,
or `*` for everything of AMPECO's."""

CallName: TypeAlias = ActionName | Other
"""What `calls=` may hold."""
