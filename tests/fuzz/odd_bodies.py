"""Bodies of the contract's types with one odd value, and some with a fault in the JSON itself."""

from __future__ import annotations

import contextlib
import gzip
import json
from functools import cache
from random import Random
from typing import Any

from ampeco.notifications import MODELS
from tests.contract.bodies import CALLBACKS, bodies
from tests.fuzz.odd_values import DATES, LONG, NAMES, NO_JSON, NUMBERS, SHAPES, TEXTS, VERY_LONG
from tests.fuzz.streams import mutated

_KEPT_OF_EACH_TYPE = 12
_TOUCHED = 0.07  # of the bodies get a change of bytes in addition
_ENCODED = 0.07
_HOLE = "\x00hole\x00"
_HOLE_TEXT = json.dumps(_HOLE).encode()


@cache
def _made(seed: int) -> tuple[dict[str, Any], ...]:
    kept = [each for name in CALLBACKS for each in bodies(name, _KEPT_OF_EACH_TYPE, seed=seed)]
    kept += [{"notification": name, "id": n} for n, name in enumerate(MODELS)]
    return tuple(kept)


def odd_body(seed: int, number: int) -> bytes:
    """Make the body of this number: a contract body in which one value, name or pair is odd."""
    dice = Random(f"{seed} {number}")
    document = dict(dice.choice(_made(seed)))
    document["fuzz"] = number  # no two bodies are equal
    holder, at = _place(document, dice)
    body = _with_odd_part(document, holder, at, dice)
    if dice.random() < _TOUCHED:
        body = mutated(body, dice)
    return _encoded(body, dice) if dice.random() < _ENCODED else body


def _encoded(body: bytes, dice: Random) -> bytes:
    """Encode a body that is not plain UTF-8 then: with a mark, as UTF-16, in gzip."""
    encoding = dice.choice(("utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-8"))
    with contextlib.suppress(UnicodeDecodeError):
        body = body.decode().encode(encoding)
    return gzip.compress(body, 1, mtime=0) if dice.random() < 0.5 else body


def _with_odd_part(document: Any, holder: Any, at: Any, dice: Random) -> bytes:
    before = holder[at]
    match dice.randrange(12):
        case 0 | 1:
            odd = json.dumps(dice.choice(TEXTS)).encode()
        case 2 | 3:
            odd = json.dumps(dice.choice(DATES)).encode()
        case 4 | 5:
            odd = dice.choice(NUMBERS)
        case 6 | 7:
            odd = dice.choice(SHAPES)
        case 8:
            odd = dice.choice(NO_JSON)
        case (
            9
        ):  # text instead of a number, a number instead of text, one instead of many, many instead of one
            odd = json.dumps(dice.choice((str(before), [before], {"id": before}, {"0": before}))).encode()
        case 10 if isinstance(at, str):
            return _renamed(document, holder, at, dice)
        case _:
            text = VERY_LONG if dice.random() < 0.05 else LONG
            odd = json.dumps(dice.choice((text, [text] * 3, {text: text}))).encode()
    odd = odd.replace(_HOLE_TEXT, b"null")
    changed = _replaced(document, holder, at, _HOLE)
    if dice.random() < 0.1:
        changed = {"data": changed}
    text = json.dumps(
        changed, ensure_ascii=dice.random() < 0.5, separators=dice.choice(((",", ":"), (", ", ": ")))
    )
    return text.encode(errors="surrogatepass").replace(_HOLE_TEXT, odd)


def _renamed(document: Any, holder: Any, at: str, dice: Random) -> bytes:
    """Give one value another name, an odd one or that of a neighbour, or give it twice."""
    name = dice.choice((*NAMES, at.upper(), at + "\u0000", at + at))
    renamed = {(name if key == at else key): value for key, value in holder.items()}
    body = json.dumps(_swapped(document, holder, renamed)).encode()
    if dice.random() < 0.3:
        body = body[:-1] + b"," + json.dumps(name).encode() + b":" + dice.choice(NUMBERS) + b"}"
    return body


def _place(document: dict[str, Any], dice: Random) -> tuple[Any, Any]:
    """Choose a place: the object or array, and the name or index in it. Places near the top are chosen more often."""
    holder: Any = document
    while True:
        at = dice.choice(list(holder)) if isinstance(holder, dict) else dice.randrange(len(holder))
        inner = holder[at]
        if not isinstance(inner, dict | list) or not inner or dice.random() < 0.3:
            return holder, at
        holder = inner


def _replaced(document: Any, holder: Any, at: Any, value: Any) -> Any:
    """Copy a document with another value in one place."""
    changed = dict(holder) if isinstance(holder, dict) else list(holder)
    changed[at] = value
    return _swapped(document, holder, changed)


def _swapped(document: Any, old: Any, new: Any) -> Any:
    if document is old:
        return new
    if isinstance(document, dict):
        return {name: _swapped(each, old, new) for name, each in document.items()}
    if isinstance(document, list):
        return [_swapped(each, old, new) for each in document]
    return document
