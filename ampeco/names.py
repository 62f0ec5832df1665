"""Checks names that are declared or configured: of a notification type, of a queue.

Names stand in one text with others, which tabs, line ends, commas and bars separate. A type that AMPECO sends may be
any text; only its length is limited.
"""

from collections.abc import Callable

NAME_MAX_BYTES = 200
QUEUE_MAX_CHARS = 100

_SEPARATORS = ",|"


def fault_of_type(name: object) -> str | None:
    """Return what is wrong with the name of a notification type, in words; None when nothing is."""
    return _fault(name, NAME_MAX_BYTES, _may_stand_in_type, "no blank, comma, bar or invisible character")


def fault_of_queue(name: object) -> str | None:
    """Return what is wrong with the name of a queue, in words; None when nothing is."""
    allowed = "letters of a to z, digits, dots, colons, dashes and underscores"
    return _fault(name, QUEUE_MAX_CHARS, _may_stand_in_queue, allowed)


def _fault(name: object, most_bytes: int, may_stand: Callable[[str], bool], allowed: str) -> str | None:
    if not isinstance(name, str):
        return f"must be text, not {type(name).__name__}"
    if not name:
        return "is empty"
    for place, char in enumerate(name, 1):
        if not may_stand(char):
            return f"has {char!a} (U+{ord(char):04X}) at place {place}; it may have {allowed}"
    if len(name.encode()) > most_bytes:
        return f"has {len(name.encode())} bytes; it may have {most_bytes}"
    return None


def _may_stand_in_type(char: str) -> bool:
    return char.isprintable() and not char.isspace() and char not in _SEPARATORS


def _may_stand_in_queue(char: str) -> bool:
    return char.isascii() and (char.isalnum() or char in "._:-")
