"""Text from outside: from senders, authors of handlers, tenants and the command line.

`bounded` is for text on its way into Redis or a log line. `printable` is for text on its way to a terminal, where
control characters clear the screen, set the title, and forge rows.
"""

from __future__ import annotations

import unicodedata
from typing import Final

REASON_CHARS: Final = 1_000
LINE_COLUMNS: Final = 10_000
CELL_COLUMNS: Final = 120
CUT: Final = "…"

_MARKS_IN_A_ROW = 3  # on one character; more of them would cover the rows above and below
# Unicode's categories call these printable, but they show nothing.
_UNSEEN = frozenset((0x34F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x180B, 0x180C, 0x180D, 0x180F, 0x3164, 0xFFA0))


def bounded(text: str, most: int = REASON_CHARS) -> str:
    """Return a text as valid UTF-8 of at most `most` characters. A cut ends with an ellipsis.

    Half a surrogate pair becomes a backslash escape. Only methods of `str` itself run, also for a subclass.
    """
    plain = str.__str__(text)
    if len(plain) <= most and plain.isascii():
        return plain
    plain = plain[: most + 1].encode("utf-8", "backslashreplace").decode()
    return plain if len(plain) <= most else plain[: most - 1] + CUT


def printable(text: str, columns: int = LINE_COLUMNS) -> str:
    """Return a text as one line that is safe on a terminal, at most `columns` wide. A cut ends with an ellipsis.

    Every invisible character becomes a backslash escape: control and format characters, line ends,
    text direction, zero-width characters, halves of surrogate pairs.
    """
    if len(text) <= columns and text.isascii() and text.isprintable():
        return text
    pieces: list[tuple[str, int]] = []
    used, marks = 0, _MARKS_IN_A_ROW  # a mark has no character before the first one
    for char in text:
        wide = _columns_of(char)
        marks = marks + 1 if wide == 0 else 0
        piece, wide = (char, wide) if marks <= _MARKS_IN_A_ROW and is_visible(char) else _escaped(char)
        if used + wide > columns:
            while used > columns - 1:
                used -= pieces.pop()[1]
            return "".join(piece for piece, _ in pieces) + CUT
        used += wide
        pieces.append((piece, wide))
    return "".join(piece for piece, _ in pieces)


def is_visible(char: str) -> bool:
    """Return whether a terminal only shows this character, and obeys no command in it."""
    return char.isprintable() and not _is_unseen(ord(char))


def columns_of(text: str) -> int:
    """Return the number of terminal columns that a printable text takes."""
    return len(text) if text.isascii() else sum(map(_columns_of, text))


def _columns_of(char: str) -> int:
    if char.isascii():
        return 1
    if unicodedata.category(char) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in ("W", "F") else 1


def _is_unseen(code: int) -> bool:
    return code in _UNSEEN or 0xFE00 <= code <= 0xFE0F or 0xE0100 <= code <= 0xE01EF


def _escaped(char: str) -> tuple[str, int]:
    piece = char.encode("unicode_escape").decode()
    return piece, len(piece)
