"""`python -m benchmarks.worst_bodies`: what the dearest bodies of 1 MiB cost the endpoint before it answers.

Each family repeats one unit of JSON until the body is full: arrays in arrays, numbers of 4,300 digits, escapes, many
names, times. Most are tried alone, with a fault at the end, and with half a character at the end. The figure is
processor time for the signature, the parts that the log needs, and the digests for the duplicate check.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import count

from ampeco.signature import SigningKey, sign
from benchmarks.bodies import SECRET
from eventlog.duplicates import hash_of_entity
from eventlog.log import NewEvent
from receiver.intake import Intake
from receiver.large_bodies import Turns
from receiver.verification import RawDelivery, VerifiedDelivery, Verifier

SIZE = 1 << 20
EXPECTED_MS = 150.0
ROUNDS = 3

_DEEP = 190  # the parser takes 200 levels
_ENDS = {"": b"]}", ", then a fault": b",]}", ", then half a character": b',"\\ud800"]}'}
_UNITS = {
    "arrays": b"[]",
    "arrays of one": b"[1]",
    "arrays in arrays": b"[" * _DEEP + b"]" * _DEEP,
    "objects": b"{}",
    "objects of one": b'{"a":1}',
    "objects in objects": b'{"a":' * _DEEP + b"1" + b"}" * _DEEP,
    "whole numbers": b"1",
    "whole numbers of 19 digits": b"9" * 19,
    "whole numbers of 4,300 digits": b"9" * 4300,
    "fractions": b"1.5",
    "fractions of 800 digits": b"0." + b"9" * 800,
    "the least fraction": b"5e-324",
    "the largest number": b"1.7976931348623157e308",
    "empty texts": b'""',
    "escapes": b'"\\u00e9"',
    "null": b"null",
}


def worst_bodies() -> Iterator[tuple[str, Callable[[], bytes]]]:
    """Return each family: what it repeats, and a function that makes its body."""
    for title, unit in _UNITS.items():
        for also, end in _ENDS.items():
            yield (
                title + also,
                lambda unit=unit, end=end: _filled(b'{"notification":"x","a":[', _same(unit), end),
            )
    yield "one text of escapes", lambda: _filled(b'{"notification":"x","a":"', _same(b"\\u1234"), b'"}', b"")
    yield "one whole number", lambda: _filled(b'{"notification":"x","a":', _same(b"9"), b"}", b"")
    yield "one fraction", lambda: _filled(b'{"notification":"x","a":0.', _same(b"9"), b"}", b"")
    yield "only brackets", lambda: b"[" * SIZE
    yield "names", lambda: _filled(b'{"notification":"x",', (b'"%d":1' % n for n in count()), b"}")
    yield "one name again and again", lambda: _filled(b'{"notification":"x",', _same(b'"a":1'), b"}")
    yield "one type name", lambda: _filled(b'{"notification":"', _same("漢".encode()), b'"}', b"")
    yield "one id", lambda: _filled(_SESSION + b'"', _same("漢".encode()), b'"}}', b"")
    yield "one id of a minus and digits", lambda: _filled(_SESSION + b'"-', _same(b"1"), b'"}}', b"")
    for title, text in _TIMES.items():
        yield (
            title,
            lambda text=text: _filled(_METER_VALUES, (_READING % (text % _parts(n)) for n in count()), b"]}"),
        )


_SESSION = b'{"notification":"SessionUpdateNotification","session":{"id":'
_METER_VALUES = b'{"notification":"SessionMeterValuesNotification","meterValues":['
_READING = b'{"timestamp":"%b"}'
_TIMES = {
    "times": b"20%02d%02d%02dT%02d%02d",
    "times with an offset": b"20%02d-%02d-%02dT%02d:%02d:00+01:00",
    "texts that are not times": b"%02dx%02dx%02dx%02dx%02d",
}


def _parts(number: int) -> tuple[int, ...]:
    hours, minute = divmod(number, 60)
    days, hour = divmod(hours, 24)
    months, day = divmod(days, 28)
    year, month = divmod(months, 12)
    return year % 100, month + 1, day + 1, hour, minute


def _same(unit: bytes) -> Iterator[bytes]:
    while True:
        yield unit


def _filled(start: bytes, units: Iterable[bytes], end: bytes, separator: bytes = b",") -> bytes:
    size, parts = len(start) + len(end), []
    for unit in units:
        size += len(unit) + len(separator)
        if size > SIZE:
            break
        parts.append(unit)
    return start + separator.join(parts) + end


class Cost:
    """Processor time of one endpoint for one body, in milliseconds."""

    def __init__(self) -> None:
        self._key = SigningKey.of(SECRET)
        self._verifier = Verifier([self._key])
        self._intake = Intake(_NoCommit())  # type: ignore[arg-type]

    def ms(self, body: bytes) -> float:
        """Read a body once, as the endpoint does before it answers."""
        signature = sign(body, self._key).encode()
        turns = Turns(later=lambda *_: None)
        started = time.process_time()
        verified = self._verifier.verify(RawDelivery(body, signature, 1_764_000_000_000))
        turns.add(len(body), lambda: self._read(verified))
        return (time.process_time() - started) * 1e3

    def _read(self, verified: VerifiedDelivery) -> None:
        element = self._intake.read(verified)
        if isinstance(element, NewEvent):  # what the log computes before it appends
            hashlib.sha256(element.body).digest()
            hash_of_entity(element.type, element.key)


class _NoCommit:
    def append(self, *_: object) -> None:
        raise AssertionError("nothing is appended here")


def worst(rounds: int = ROUNDS) -> list[tuple[float, str, bytes]]:
    """Return milliseconds, family and body, the dearest first; the least of a few rounds counts."""
    cost, found = Cost(), []
    for title, make in worst_bodies():
        body = make()
        found.append((min(cost.ms(body) for _ in range(rounds)), title, body))
    return sorted(found, reverse=True)


def main() -> None:
    """Measure and print; like every benchmark it is not a gate."""
    for ms, title, body in worst():
        verdict = "PASS" if ms <= EXPECTED_MS else "MISS"
        print(f"{title:<55}{len(body):>10,} bytes{ms:>8.1f} ms  <= {EXPECTED_MS:g}  {verdict}")


if __name__ == "__main__":
    main()
