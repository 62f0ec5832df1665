"""What commands print: tables, fields, lines and JSON.

Senders, authors of handlers and the tenant write the texts that are printed. None may reach the terminal as it is:
see `eventlog.text.printable`.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence

import click

from eventlog.text import CELL_COLUMNS, columns_of, is_visible, printable

_NOT_ASCII = re.compile(r"[^\x00-\x7e]")


def print_line(text: str, *, err: bool = False) -> None:
    """Print one line to stdout, or to stderr."""
    _echo(printable(text), err=err)


def print_unchanged(text: str = "nothing was changed; add --yes to make the change") -> None:
    """Say on stderr that only a plan was shown."""
    _echo(text, err=True)


def print_table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows as aligned columns to stdout; `-` stands for an empty cell. A long cell is cut."""
    texts = [list(heads), *([printable(_text(cell), CELL_COLUMNS) for cell in row] for row in rows)]
    widths = [max(map(columns_of, column)) for column in zip(*texts, strict=True)]
    for row in texts:
        cells = (cell + " " * (width - columns_of(cell)) for cell, width in zip(row, widths, strict=True))
        _echo("  ".join(cells).rstrip())


def print_fields(fields: Mapping[str, object]) -> None:
    """Print one `name: value` per line to stdout; `-` stands for an empty value. A list has a line per item."""
    for name, value in fields.items():
        if isinstance(value, list) and value:
            print_line(f"{name}:")
            for item in value:
                print_line(f"    {item}")
        else:
            print_line(f"{name + ':':<13} {_text(value)}")


def print_json(document: object) -> None:
    """Print one JSON document to stdout."""
    click.echo(json_text(document, indent=2))


def json_text(document: object, *, indent: int | None = None) -> str:
    """Return a document as JSON that is safe on a terminal, and valid UTF-8.

    Characters that are not visible become JSON's escapes. Half a surrogate pair, which strict readers of JSON refuse,
    becomes the six characters of its escape.
    """
    text = json.dumps(document, indent=indent, ensure_ascii=not _has_unicode())
    return text if text.isascii() and "\x7f" not in text else _NOT_ASCII.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    char = found[0]
    if "\ud800" <= char <= "\udfff":
        return f"\\\\u{ord(char):04x}"
    return char if is_visible(char) else json.dumps(char)[1:-1].replace("\x7f", "\\u007f")


def _has_unicode() -> bool:
    return (getattr(sys.stdout, "encoding", None) or "").lower().startswith("utf")


def _echo(text: str, *, err: bool = False) -> None:
    try:
        click.echo(text, err=err)
    except UnicodeEncodeError:  # an encoding that lacks a character
        click.echo(text.encode("ascii", "backslashreplace").decode(), err=err)


def _text(value: object) -> str:
    return "-" if value in (None, "", []) else str(value)
