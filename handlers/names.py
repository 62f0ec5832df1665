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


TypeName: TypeAlias = NotificationName | Literal["*", "receiver.gap.closed"] | Other
"""What `on=` may hold: a notification type, an event of this service, or `*` for everything."""

CallName: TypeAlias = ActionName | Other
"""What `calls=` may hold."""
