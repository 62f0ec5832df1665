"""Differences from plain uvicorn that are wanted: a stream to which one applies is judged less strictly.

Such a stream must still be answered without a crash, without a 5xx other than 503, and leave nothing behind.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from tests.fuzz.streams import Stream

IN_ORDER = "requests before a broken one are answered first"
"""Needs no leniency: then our end must do what uvicorn does when the sender waits for each answer."""

ONE_ANSWER = "a request that was answered early gets no second answer when its body is broken"
"""Needs no leniency, too: uvicorn writes a 400 more, and everything else is the same."""

MOST_WAITING = 16
"""Requests of one connection that may wait for their answers."""
HEAD_BYTES = 8_192
"""Size of a head that is certainly allowed."""


_TRAILER = re.compile(rb"\n0+[^\n]*\n[^\r\n]")  # the last chunk, and then no empty line


def _says(word: bytes) -> Callable[[Stream], bool]:
    return lambda stream: word in stream.data.lower()


WANTED: Mapping[str, Callable[[Stream], bool]] = {
    "upgrade is ignored": _says(b"upgrade"),
    "CONNECT is refused": _says(b"connect "),
    "trailers never replace headers": lambda stream: bool(_TRAILER.search(stream.data)),
    "a sender that closes its half is answered": lambda stream: stream.ends == "end",
    "a head has a limit": lambda stream: len(stream.data) > HEAD_BYTES,
    "not more than 16 requests wait": lambda stream: stream.data.count(b"HTTP/1.") > MOST_WAITING,
}
"""Name -> whether it may apply to a stream."""


def wanted_difference(stream: Stream) -> str | None:
    """Return the name of a difference that may apply."""
    return next((name for name, applies in WANTED.items() if applies(stream)), None)
