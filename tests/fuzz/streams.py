"""Generated and mutated bytes of one connection: usually one to three requests, right or wrong in one place."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from random import Random

from tests.door import PATH
from tests.fuzz.ends import BODY_LIMIT
from tests.fuzz.request_parts import (
    HARMLESS,
    METHODS,
    OTHERS,
    SIGNATURES,
    TARGETS,
    TRAILERS,
    TYPES,
    VERSIONS,
    WORDS,
    length,
    signed,
)

_ODD = 0.12  # of each part of a request
_MUTATED = 0.25


@dataclass(frozen=True)
class Stream:
    """What one sender sends over one connection.

    Attributes:
        parts: one per request, as far as the generator knows; a mutation makes one part of all.
        ends: how the sender ends: `idle`, `end` (closes its half) or `lost` (reset).
    """

    parts: tuple[bytes, ...]
    ends: str

    @property
    def data(self) -> bytes:
        return b"".join(self.parts)


def stream(dice: Random) -> Stream:
    """Make a stream."""
    parts = [request(dice) for _ in range(dice.choice((1, 1, 1, 1, 2, 2, 3, 5)))]
    if dice.random() < 0.1:
        parts.insert(dice.randrange(len(parts) + 1), dice.choice((b"\r\n", b"\n", b"\r\n\r\n", b"\0", b" ")))
    if dice.random() < _MUTATED:
        data = b"".join(parts)
        for _ in range(dice.choice((1, 1, 2, 5))):
            data = mutated(data, dice)
        parts = [data]
    return Stream(tuple(parts), dice.choice(("idle", "idle", "end", "lost")))


def honest(number: int) -> bytes:
    """A plain request that is accepted, to follow a stream."""
    body = b'{"notification":"probe","n":%d}' % number
    return written(b"POST", PATH.encode(), b"1.1", [(b"Host", b"x"), length(body), signed(body)], body)


def request(dice: Random) -> bytes:
    """One request: often a rightly signed notification, else with odd parts."""
    body = _body(dice)
    headers = [(b"Host", b"receiver"), (b"Content-Type", b"application/json"), signed(body)]

    def odd() -> bool:
        return dice.random() < _ODD

    if odd():
        headers[2:] = dice.choice(SIGNATURES)(body, dice)
    if odd():
        headers[1:2] = dice.choice(TYPES)(dice)
    for _ in range(dice.choice((0, 1, 1, 2, 6)) if odd() else 0):
        headers.insert(dice.randrange(len(headers) + 1), dice.choice(OTHERS if odd() else HARMLESS))
    on_wire, framing = _framed(body, dice) if odd() else (body, [length(body)])
    at = dice.randrange(len(headers) + 1)
    headers[at:at] = framing
    return written(
        dice.choice(METHODS) if odd() else b"POST",
        dice.choice(TARGETS) if odd() else PATH.encode(),
        dice.choice(VERSIONS) if dice.random() < 0.1 else b"1.1",
        headers,
        on_wire,
        end=b"\n" if dice.random() < 0.05 else b"\r\n",
    )


def written(
    method: bytes,
    target: bytes,
    version: bytes,
    headers: list[tuple[bytes, bytes]],
    body: bytes,
    end: bytes = b"\r\n",
) -> bytes:
    """Write a request."""
    lines = [b"%b %b HTTP/%b" % (method, target, version), *(b"%b: %b" % pair for pair in headers), b""]
    return end.join(lines) + end + body


def mutated(data: bytes, dice: Random) -> bytes:
    """Change bytes in one place."""
    at = dice.randrange(len(data) + 1)
    until = min(len(data), at + dice.choice((1, 1, 2, 8, 60)))
    match dice.randrange(7):
        case 0:
            return data[:at] + bytes([dice.randrange(256)]) + data[at + 1 :]
        case 1:
            return data[:at] + data[until:]
        case 2:
            return data[:at] + data[at:until] * 2 + data[until:]
        case 3:
            return data[:at]
        case 4:
            return data[:at] + dice.choice(WORDS) + data[at:]
        case 5:
            other = dice.randrange(len(data) + 1)
            return data[:at] + data[other : other + 40] + data[at:]
        case _:
            return data[:at] + dice.choice(WORDS) + data[until:]


def bytewise(data: bytes) -> list[bytes]:
    """Cut at every place."""
    return [data[at : at + 1] for at in range(len(data))]


def pieces(data: bytes, dice: Random) -> list[bytes]:
    """Cut at a few random places, or at line ends."""
    if dice.random() < 0.3:
        lines = data.split(b"\n")
        return [line + b"\n" for line in lines[:-1]] + ([lines[-1]] if lines[-1] else [])
    cuts = sorted({0, len(data), *(dice.randrange(len(data) + 1) for _ in range(dice.choice((1, 1, 2, 5))))})
    return [data[start:stop] for start, stop in pairwise(cuts)]


def _body(dice: Random) -> bytes:
    match dice.randrange(10):
        case 0:
            return b""
        case 1:
            return bytes(dice.randrange(256) for _ in range(dice.randrange(40)))
        case 2:
            return b"[1]"
        case 3 if dice.random() < 0.3:
            pad = BODY_LIMIT + dice.choice((-1, 0, 1, 200)) - len(b'{"notification":""}')
            return b'{"notification":"%b"}' % (b"x" * pad)
    return b'{"notification":"BootNotification","chargePointId":%d}' % dice.randrange(10**6)


def _framed(body: bytes, dice: Random) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    """The body on the wire, and the headers that say where it ends."""
    named = length(body)
    match dice.randrange(14):
        case 0:
            return body, []
        case 1:
            return body, [(named[0], b"%d" % max(0, len(body) + dice.choice((-1, 1, -5, 40))))]
        case 2:
            return body, [named, named]
        case 3:
            return body, [named, (named[0], b"%d" % (len(body) + 1))]
        case 4:
            odd = (
                b"+%d",
                b"%d ",
                b" %d",
                b"0x%x",
                b"-%d",
                b"%d,%d",
                b"00000000000000000000000%d",
                b"%d.0",
                b"%d\t",
            )
            form = dice.choice(odd)
            return body, [(named[0], form % ((len(body),) * form.count(b"%")))]
        case 5:
            return body, [
                (
                    named[0],
                    dice.choice((b"", b"99999999999999999999", b"1e3", b"abc", b"18446744073709551617")),
                )
            ]
        case 6:
            coding = dice.choice(
                (b"gzip, chunked", b"chunked, chunked", b"identity", b"Chunked", b" chunked ", b"xchunked")
            )
            return _chunks(body, dice), [(b"Transfer-Encoding", coding)]
        case 7:
            return _chunks(body, dice), [(b"Transfer-Encoding", b"chunked"), named]
        case 8 | 9 | 10:
            return _chunks(body, dice), [(b"Transfer-Encoding", b"chunked")]
    return body, [named]


def _chunks(body: bytes, dice: Random) -> bytes:
    parts, at = [], 0
    while at < len(body):
        size = dice.choice((1, 7, 30, 500))
        part = body[at : at + size]
        extension = dice.choice((b"", b"", b"", b";x=1", b'; y="a;b"', b" "))
        claimed = len(part) + (dice.choice((-1, 1)) if dice.random() < 0.02 else 0)
        parts.append(b"%x%b\r\n%b\r\n" % (max(claimed, 0), extension, part))
        at += size
    trailers = b"" if dice.random() < 0.8 else dice.choice(TRAILERS)
    return (
        b"".join(parts)
        + dice.choice((b"0\r\n", b"0\r\n", b"0\r\n", b"00\r\n", b"0;x\r\n", b""))
        + trailers
        + b"\r\n"
    )
