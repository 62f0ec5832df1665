"""A body on a page: the beginning of its text, for sessions with that right. A large body is read only on request."""

from __future__ import annotations

import asyncio
import gc
from dataclasses import dataclass
from typing import Final

from markupsafe import Markup

from ampeco.encodings import plain_or_same, plain_size
from console.markup import first_lines
from console.masking import readable
from console.page import Page

LARGE: Final = 65_536
"""A body of more bytes is read only when the address asks for it."""


@dataclass(frozen=True)
class BodyView:
    """A body as a page shows it.

    Attributes:
        size: in bytes, as it was received.
        is_large: it is shown only when it is asked for, and nothing else is made of it.
        command: shows all of it.
        text: its beginning, escaped; None where the page does not show it. Empty where it cannot be read as JSON and
            personal values are to be hidden.
        is_cut: whether more follows.
    """

    size: int
    is_large: bool
    command: str
    text: Markup | None = None
    is_cut: bool = False


def is_read(page: Page, size: int) -> bool:
    """Return whether a page reads a body of this size: it is small, or its reader may see it and asks for it."""
    return size <= LARGE or (page.may_read_bodies and page.asked("body") == "show")


async def body_view(page: Page, body: bytes, encoding: str, *, size: int, command: str) -> BodyView:
    """Return what a page shows of a body.

    Args:
        body: as it was received; empty where it was not read.
    """
    full_size = max(size, plain_size(body))
    is_large = full_size > LARGE
    if not page.may_read_bodies or not is_read(page, full_size):
        return BodyView(size, is_large, command)
    # A large one takes a tenth of a second, and a receiver may run in this process.
    shown = await asyncio.to_thread(_readable, body, encoding, page.shows_personal)
    return BodyView(size, is_large, command, *first_lines(shown))


def _readable(body: bytes, encoding: str, personal: bool) -> str:
    # The collector would visit half a million new lists again and again: half a second, in which nothing else runs.
    collects = gc.isenabled()
    gc.disable()
    try:
        return readable(plain_or_same(body, encoding), personal=personal)
    finally:
        if collects:
            gc.enable()
