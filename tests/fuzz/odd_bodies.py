"""Bodies of the contract's types with one odd value, and some with a fault in the JSON itself."""

from __future__ import annotations

import json
from functools import cache
from random import Random
from typing import Any

from ampeco.notifications import MODELS
from tests.contract.bodies import CALLBACKS, bodies
from tests.fuzz.streams import mutated

_KEPT_OF_EACH_TYPE = 40
_TOUCHED = 0.07  # of the bodies get a change of bytes in addition
_HOLE = "\x00hole\x00"
_HOLE_TEXT = json.dumps(_HOLE).encode()

_LONG, _VERY_LONG = "x" * 1_500, "a" * 70_000
_TEXTS = (
    "", " ", "0", "-1", "none", "null", "true", "12,5", "12.5 kWh", "1_0", "1e400", "NaN", "Infinity", "0x10", "+1", "½",
    "9223372036854775807", "-9223372036854775808", "9" * 300, "\u202egnp.exe", "\u0000", "\x1b[2J\x1b]0;t\x07",
    "a\r\nb", "a\tb|c", "\u0085\u009b31m", "\ufeffx", "\u2028", "e\u0301", "😀", "漢" * 100, "'; DROP TABLE", "%s%n{0}", "session:1",
    "*", "receiver.gap.closed", "receiver.", "untyped", "SessionUpdateNotification", "İ", "ß" * 80,
)  # fmt: skip
_DATES = (
    "2026-11-24", "2026-11-24T03:50:00Z", "2026-11-24T03:50:00", "2026-11-24 03:50", "2026-W48-2T03", "20261124T0350", "1970-01-01T00:00:00Z",
    "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2099-01-01T00:00:00Z", "2026-02-30T00:00:00Z", "2026-11-24T24:00:00Z",
    "2026-11-24T03:50:60Z", "2026-11-24T03:50:00.123456789Z", "2026-11-24T03:50:00+23:59:59.999999", "2026-11-24T03:50:00+24:00",
    "24.11.2026 03:50", "1764000000", "２０２６-11-24T03:50:00Z", "2026-11-24T03:50:00Z\u0000", "-2026-11-24T03:50:00Z", "0000-00-00 00:00:00",
)  # fmt: skip
_NUMBERS = (
    b"0", b"-0", b"-1", b"1.0", b"-0.0", b"1e400", b"-1e400", b"1e-400", b"5e-324", b"1.5", b"9007199254740993", b"9007199254740993.0",
    b"9223372036854775807", b"9223372036854775808", b"-9223372036854775808", b"1" + b"0" * 30, b"9" * 4299, b"9" * 4300, b"9" * 4301,
    b"0." + b"3" * 900, b"1e9999999999", b"-" + b"9" * 600, b"1E5", b"1e+5",
)  # fmt: skip
_SHAPES = (
    b"null", b"true", b"false", b"[]", b"{}", b"[[]]", b"[null]", b"[{}]", b'{"":""}', b'{"id":null}', b'{"0":{"id":1}}', b"[1,\"a\",null,{}]",
    b'{"a":1,"a":2}', b'{"id":1,"id":{}}', b"[" * 150 + b"]" * 150, b"[" * 198 + b"]" * 198, b"[" * 199 + b"]" * 199, b"[" * 1000 + b"]" * 1000,
    b'{"a":' * 150 + b"1" + b"}" * 150, b"[" + b"0," * 500 + b"0]", b"{" + b",".join(b'"%d":%d' % (n, n) for n in range(300)) + b"}",
    b'{"notification":"x"}', b'{"data":{}}',
)  # fmt: skip
_NO_JSON = (
    b"NaN", b"Infinity", b"-Infinity", b"01", b"1.", b".5", b"+1", b"'a'", b"undefined", b"", b"{", b"]", b'"', b"tru", b"\xff", b"/**/1", b"1,",
    b'"\\ud800"', b'"\\udc00\\ud800"', b'"a\\ud83d"', b'"\\uD83D\\u0041"', b'"\\x41"', b'"\\u00"', b'"\x01"', b'"\xed\xa0\x80"', b'"\xc0\xaf"',
    b'"\xf4\x90\x80\x80"', b'"\n"',
)  # fmt: skip
_NAMES = (
    "", "\ud800", "__class__", "__proto__", "model_fields", "model_extra", "_body", "_unset", "notification", "data", "id", "session", "copy", "self",
    "a.b", "a[0]", "x" * 500, "\x1b[31m", "\n", "Notification", "session_id", "sessionId", "chargePoint", "lastUpdatedAt", "dict", "json",
)  # fmt: skip


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
    return mutated(body, dice) if dice.random() < _TOUCHED else body


def _with_odd_part(document: Any, holder: Any, at: Any, dice: Random) -> bytes:
    before = holder[at]
    match dice.randrange(12):
        case 0 | 1:
            odd = json.dumps(dice.choice(_TEXTS)).encode()
        case 2 | 3:
            odd = json.dumps(dice.choice(_DATES)).encode()
        case 4 | 5:
            odd = dice.choice(_NUMBERS)
        case 6 | 7:
            odd = dice.choice(_SHAPES)
        case 8:
            odd = dice.choice(_NO_JSON)
        case (
            9
        ):  # text instead of a number, a number instead of text, one instead of many, many instead of one
            odd = json.dumps(dice.choice((str(before), [before], {"id": before}, {"0": before}))).encode()
        case 10 if isinstance(at, str):
            return _renamed(document, holder, at, dice)
        case _:
            text = _VERY_LONG if dice.random() < 0.05 else _LONG
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
    name = dice.choice((*_NAMES, at.upper(), at + "\u0000", at + at))
    renamed = {(name if key == at else key): value for key, value in holder.items()}
    body = json.dumps(_swapped(document, holder, renamed)).encode()
    if dice.random() < 0.3:
        body = body[:-1] + b"," + json.dumps(name).encode() + b":" + dice.choice(_NUMBERS) + b"}"
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
