"""Which page shows what a sentence is about: found by the command that the sentence names, or by a handler in it."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import NamedTuple

_COMMAND = re.compile(r"`([a-z]+)(?: ([a-z-]+))?([^`]*)`")
_PAGES = {
    "dead": "dead",
    "quarantine": "quarantine",
    "gaps": "line",
    "registration": "line",
    "audit": "audit",
}  # first word of a command -> page


class Link(NamedTuple):
    """A page, and the handler that it is to show; empty for all."""

    path: str
    handler: str = ""


def link_of(sentence: str, handlers: Iterable[str], pages: Collection[str]) -> Link | None:
    """Return the page that shows what a sentence is about; None if there is none.

    Args:
        handlers: names of the registered handlers.
        pages: paths of the pages that exist.
    """
    words = frozenset(re.findall(r"[a-z0-9][a-z0-9.-]*[a-z0-9]|[a-z0-9]", sentence))
    named = max((name for name in handlers if name in words), key=len, default="")
    for command in _COMMAND.finditer(sentence):
        path = _PAGES.get(command[1])
        if path in pages and path is not None:
            return Link(path, named)
    return Link(f"handlers/{named}") if named else None
