"""The W3C `traceparent`: which trace a request or an event belongs to. Pure; what it reads comes from outside.

Source: W3C Trace Context, level 1, section 3.2.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

HEADER = b"traceparent"
_LONGEST = 128
_TEXT = re.compile(
    r"(?P<version>(?!ff)[0-9a-f]{2})-(?P<trace>(?!0{32})[0-9a-f]{32})-(?P<span>(?!0{16})[0-9a-f]{16})"
    r"-(?P<flags>[0-9a-f]{2})(?P<rest>-.*)?"
)


class Parent(NamedTuple):
    """The span that another one continues."""

    trace_id: int
    span_id: int
    flags: int


def parse(text: str) -> Parent | None:
    """Return what a traceparent names; None for one that is malformed, too long, or all zeros."""
    if len(text) > _LONGEST or (found := _TEXT.fullmatch(text)) is None:
        return None
    if found["rest"] is not None and found["version"] == "00":
        return None
    return Parent(int(found["trace"], 16), int(found["span"], 16), int(found["flags"], 16))


def among(headers: Iterable[tuple[bytes, bytes]]) -> Parent | None:
    """Return the parent that the headers name; None for none, for a malformed one, and for more than one.

    Args:
        headers: names in lower case.
    """
    found = [value for name, value in headers if name == HEADER]
    return parse(found[0].decode("latin-1")) if len(found) == 1 else None


def text_of(trace_id: int, span_id: int, flags: int) -> str:
    """Return the traceparent of a span."""
    return f"00-{trace_id:032x}-{span_id:016x}-{flags:02x}"
