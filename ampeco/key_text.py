"""Recognizes an API token or signing key that was copied badly.

No text of this module repeats a part of the key but a character that cannot be seen.
"""

import re
import unicodedata

SHORT_CHARS = 16
"""A key with fewer characters can be guessed, by a search with a captured event at hand."""

_QUOTES = "\"'`‘’“”«»„"  # noqa: RUF001 - as a word processor writes them
_SCHEME = re.compile(r"(authorization|bearer|token)\s*[:=\s]", re.IGNORECASE)


def fault_of(key: str, *, sendable: bool = True) -> str | None:
    """Return what is wrong with a key, as the end of a sentence; None if nothing is.

    Args:
        sendable: it is sent in an HTTP header, so it must be printable ASCII.
    """
    if not key:
        return "is empty"
    if _SCHEME.match(key):
        return "begins with words such as 'Bearer', which are not part of it"
    if (unseen := unseen_character(key)) is not None:
        return unseen
    if key[0] in _QUOTES or key[-1] in _QUOTES:
        return "is in quotes, which are not part of it"
    if any(c.isspace() for c in key) or (sendable and not key.isascii()):
        return "contains a blank, a line end or a character that an HTTP header cannot carry"
    if "," in key:
        return "contains a comma, which separates keys"
    return None


def unseen_character(text: str, *, allowed: str = "") -> str | None:
    """Return a fault that names the first character that cannot be seen; None if there is none."""
    for character in text:
        category = unicodedata.category(character)
        if character in allowed or category not in ("Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"):
            continue
        if category == "Cs":
            return "holds bytes that are not UTF-8"
        name = unicodedata.name(character, "a control character").lower()
        return f"holds U+{ord(character):04X} ({name}), which cannot be seen"
    return None
