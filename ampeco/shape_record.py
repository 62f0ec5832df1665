"""Stores the shape of a notification type as JSON with a version, and checks it when it is read."""

import json
from collections import Counter
from typing import Final

from ampeco.observed_shape import (
    KINDS,
    MOST_CHARS,
    MOST_DRIFTS,
    MOST_PATHS,
    Drift,
    Place,
    Shape,
    holder_of,
)

MOST_BYTES: Final = 256 << 10
_LAST_MS: Final = 253_402_300_800_000  # the end of the year 9999
_VERSION: Final = 1


def encode_shape(shape: Shape) -> bytes:
    """Return a shape as it is stored."""
    document = {
        "v": _VERSION,
        "n": shape.samples,
        "first": shape.first_ms,
        "last": shape.last_ms,
        "cut": shape.is_cut,
        "paths": {path: [p.first_ms, p.last_ms, p.kinds] for path, p in shape.paths.items()},
        "drifts": [[d.path, d.what, d.against, d.at_ms] for d in shape.drifts[-MOST_DRIFTS:]],
    }
    return json.dumps(document, separators=(",", ":")).encode()


def decode_shape(data: bytes) -> Shape:
    """Read a stored shape.

    Raises:
        ValueError: another version wrote it, or it is damaged or too large.
    """
    if len(data) > MOST_BYTES:
        raise ValueError("a shape of more than 256 KiB")
    try:
        document = json.loads(data)
        if document["v"] != _VERSION:
            raise ValueError("a shape of another version")
        places = {
            _text(path): Place(_ms(first), _ms(last), Counter({_kind(k): int(n) for k, n in kinds.items()}))
            for path, (first, last, kinds) in document["paths"].items()
        }
        drifts = [Drift(_text(p), _text(w), _text(a), _ms(at)) for p, w, a, at in document["drifts"]]
        shape = Shape(
            int(document["n"]),
            _ms(document["first"]),
            _ms(document["last"]),
            places,
            drifts[:MOST_DRIFTS],
            bool(document["cut"]),
        )
    except (AttributeError, KeyError, OverflowError, RecursionError, TypeError, ValueError) as error:
        raise ValueError("a shape that cannot be read") from error
    if len(places) > MOST_PATHS or any(holder_of(path) not in places for path in places):
        raise ValueError("a shape that cannot be read")
    return shape


def _text(value: object) -> str:
    if not isinstance(value, str) or len(value) > MOST_CHARS:
        raise ValueError("no short text")
    return value


def _ms(value: object) -> int:
    if type(value) is not int or not 0 <= value < _LAST_MS:
        raise ValueError("no moment")
    return value


def _kind(value: str) -> str:
    if value not in KINDS:
        raise ValueError("no kind of value")
    return value
