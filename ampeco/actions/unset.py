"""The value of an argument that was not given: not sent, unlike None, which is sent as null."""

from enum import Enum
from typing import Final, Literal


class Unset(Enum):
    """Type of `UNSET`, so that type checkers can tell it from every other value."""

    UNSET = "UNSET"

    def __repr__(self) -> str:
        return "UNSET"

    def __bool__(self) -> Literal[False]:
        return False


UNSET: Final = Unset.UNSET
