"""Escapes from the types that the contract gives: for values and bodies newer than our facts."""

from typing import Any


class Newer(str):
    """A value that our facts do not list; it is sent as plain text.

    `reset(7, "medium")` is refused by a type checker, `reset(7, Newer("medium"))` is not.
    """

    __slots__ = ()


class NewerNumber(int):
    """As `Newer`, for a number.

    `set_security_profile(7, set_security_profile=3, ...)` is refused by a type checker, `NewerNumber(3)` is not.
    """

    __slots__ = ()


class AsIs(dict[str, Any]):
    """A body that no type describes; it is sent as it is.

    `users.create({"newField": 1})` is refused by a type checker, `users.create(AsIs(newField=1))` is not.
    """

    __slots__ = ()
