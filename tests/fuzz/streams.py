"""Generated and mutated bytes of one connection: usually one to three requests, right or wrong in one place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from ampeco.signature import ENCODINGS, sign
from tests.door import PATH
from tests.fuzz.ends import BODY_LIMIT, KEY

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
    return written(b"POST", PATH.encode(), b"1.1", [(b"Host", b"x"), _length(body), _signed(body)], body)


def request(dice: Random) -> bytes:
    """One request: often a rightly signed notification, else with odd parts."""
    body = _body(dice)
    headers = [(b"Host", b"receiver"), (b"Content-Type", b"application/json"), _signed(body)]

    def odd() -> bool:
        return dice.random() < _ODD

    if odd():
        headers[2:] = dice.choice(_SIGNATURES)(body, dice)
    if odd():
        headers[1:2] = dice.choice(_TYPES)(dice)
    for _ in range(dice.choice((0, 1, 1, 2, 6)) if odd() else 0):
        headers.insert(dice.randrange(len(headers) + 1), dice.choice(_OTHERS if odd() else _HARMLESS))
    on_wire, framing = _framed(body, dice) if odd() else (body, [_length(body)])
    at = dice.randrange(len(headers) + 1)
    headers[at:at] = framing
    return written(
        dice.choice(_METHODS) if odd() else b"POST",
        dice.choice(_TARGETS) if odd() else PATH.encode(),
        dice.choice(_VERSIONS) if dice.random() < 0.1 else b"1.1",
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
            return data[:at] + dice.choice(_WORDS) + data[at:]
        case 5:
            other = dice.randrange(len(data) + 1)
            return data[:at] + data[other : other + 40] + data[at:]
        case _:
            return data[:at] + dice.choice(_WORDS) + data[until:]


def pieces(data: bytes, dice: Random) -> list[bytes]:
    """Cut at a few random places, or at line ends."""
    if dice.random() < 0.3:
        lines = data.split(b"\n")
        return [line + b"\n" for line in lines[:-1]] + ([lines[-1]] if lines[-1] else [])
    cuts = sorted({0, len(data), *(dice.randrange(len(data) + 1) for _ in range(dice.choice((1, 1, 2, 5))))})
    return [data[start:stop] for start, stop in zip(cuts, cuts[1:], strict=False)]


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


def _length(body: bytes) -> tuple[bytes, bytes]:
    return b"Content-Length", b"%d" % len(body)


def _signed(body: bytes) -> tuple[bytes, bytes]:
    return b"X-Signature", sign(body, KEY).encode()


def _framed(body: bytes, dice: Random) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    """The body on the wire, and the headers that say where it ends."""
    length = _length(body)
    match dice.randrange(14):
        case 0:
            return body, []
        case 1:
            return body, [(length[0], b"%d" % max(0, len(body) + dice.choice((-1, 1, -5, 40))))]
        case 2:
            return body, [length, length]
        case 3:
            return body, [length, (length[0], b"%d" % (len(body) + 1))]
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
            return body, [(length[0], form % ((len(body),) * form.count(b"%")))]
        case 5:
            return body, [
                (
                    length[0],
                    dice.choice((b"", b"99999999999999999999", b"1e3", b"abc", b"18446744073709551617")),
                )
            ]
        case 6:
            coding = dice.choice(
                (b"gzip, chunked", b"chunked, chunked", b"identity", b"Chunked", b" chunked ", b"xchunked")
            )
            return _chunks(body, dice), [(b"Transfer-Encoding", coding)]
        case 7:
            return _chunks(body, dice), [(b"Transfer-Encoding", b"chunked"), length]
        case 8 | 9 | 10:
            return _chunks(body, dice), [(b"Transfer-Encoding", b"chunked")]
    return body, [length]


def _chunks(body: bytes, dice: Random) -> bytes:
    parts, at = [], 0
    while at < len(body):
        size = dice.choice((1, 7, 30, 500))
        part = body[at : at + size]
        extension = dice.choice((b"", b"", b"", b";x=1", b'; y="a;b"', b" "))
        claimed = len(part) + (dice.choice((-1, 1)) if dice.random() < 0.02 else 0)
        parts.append(b"%x%b\r\n%b\r\n" % (max(claimed, 0), extension, part))
        at += size
    trailers = b"" if dice.random() < 0.8 else dice.choice(_TRAILERS)
    return (
        b"".join(parts)
        + dice.choice((b"0\r\n", b"0\r\n", b"0\r\n", b"00\r\n", b"0;x\r\n", b""))
        + trailers
        + b"\r\n"
    )


_SIGNATURES: tuple[Callable[[bytes, Random], list[tuple[bytes, bytes]]], ...] = (
    lambda body, dice: [_signed(body)],
    lambda body, dice: [_signed(body)],
    lambda body, dice: [],
    lambda body, dice: [(b"x-signature", sign(body + b" ", KEY).encode())],
    lambda body, dice: [(b"X-SIGNATURE", sign(body, KEY, encoding=dice.choice(ENCODINGS)).encode())],
    lambda body, dice: [
        (b"X-Signature", sign(body, KEY, prefix="sha256=").encode() + dice.choice((b"", b" ", b"\t")))
    ],
    lambda body, dice: [
        (b"X-Signature", dice.choice((b"", b"\xff\xfe", b"0" * 64, b"a" * 500, b"=", b"\x00")))
    ],
    lambda body, dice: [_signed(body), _signed(body)],
    lambda body, dice: [_signed(body), (b"X-Signature", b"0" * 64)],
    lambda body, dice: [(b"X-Signature ", _signed(body)[1])],
)
_TYPES: tuple[Callable[[Random], list[tuple[bytes, bytes]]], ...] = (
    lambda dice: [],
    lambda dice: [(b"Content-Type", b"application/json; charset=utf-8")],
    lambda dice: [
        (
            b"content-type",
            dice.choice((b"text/plain", b"application/x+json", b"", b";", b"\xe9", b"text/json")),
        )
    ],
    lambda dice: [(b"Content-Type", b"application/json"), (b"Content-Type", b"text/plain")],
    lambda dice: [(b"Content-Type", b"application/json"), (b"Content-Type", b"application/json")],
)
_HARMLESS = (
    (b"Connection", b"close"),
    (b"Connection", b"keep-alive"),
    (b"Connection", b"Upgrade"),
    (b"Connection", b"x, close"),
    (b"Upgrade", b"websocket"),
    (b"Upgrade", b"h2c"),
    (b"Expect", b"100-continue"),
    (b"Expect", b"something else"),
    (b"X-Timestamp", b"2026-11-24T03:50:00Z"),
    (b"Accept", b"*/*"),
    (b"Host", b"another"),
    (b"Keep-Alive", b"timeout=1"),
    (b"Proxy-Connection", b"close"),
    (b"TE", b"trailers"),
    (b"Trailer", b"X-Signature"),
    (b"X-Long", b"v" * 600),
    (b"X-Empty", b""),
    (b"Content-Encoding", b"gzip"),
    (b"Cookie", b"a=b; c=d"),
)
_OTHERS = (
    (b"X-\xff", b"high"),
    (b"X-Folded", b"one\r\n two"),
    (b"X-Control", b"a\x01b"),
    (b"X-Nul", b"a\x00b"),
    (b"X-CR", b"a\rb"),
    (b"", b"no name"),
    (b"X Space", b"in the name"),
    (b"Content-Length ", b"3"),
)
_TRAILERS = (
    b"X-Signature: 00\r\n",
    b"Content-Length: 5\r\n",
    b"Content-Type: text/plain\r\n",
    b"X-Trailer: value\r\n",
    b"broken trailer\r\n",
)
_METHODS = (
    b"GET",
    b"HEAD",
    b"PUT",
    b"OPTIONS",
    b"DELETE",
    b"PATCH",
    b"CONNECT",
    b"TRACE",
    b"post",
    b"PRI",
    b"M-SEARCH",
    b"XYZZY",
    b"",
)
_TARGETS = (
    b"/health/live", b"/health/ready", b"/", b"*", b"", b"/webhooks", PATH.encode() + b"/", PATH.encode() + b"?a=b",
    PATH.encode() + b"#f", b"//webhooks/ampeco", b"/webhooks/%61mpeco", b"http://x" + PATH.encode(), b"x:443",
    b"/webhooks/ampeco%00", b"/webhooks/ampeco%ff", b"/\xc3\xa9", b"/a b", b"http://[::1", b"/" + b"p" * 900,
    b"/webhooks/../webhooks/ampeco", b"/health/live?x", b"?", b"http://", b"/%",
)  # fmt: skip
_VERSIONS = (b"1.0", b"1.0", b"2.0", b"0.9", b"1.2", b"1", b"x", b"1.1 ")
_WORDS = (
    b"\r\n", b"\n", b"\r", b"\r\n\r\n", b"\x00", b"\xff", b":", b" ", b"\t", b"0\r\n\r\n", b"Content-Length: 0\r\n",
    b"Transfer-Encoding: chunked\r\n", b"GET / HTTP/1.1\r\n\r\n", b"POST ", b"HTTP/1.1", b"Connection: close\r\n",
    b"Upgrade: x\r\n", b"Expect: 100-continue\r\n", b"99999999999999999999", b"ffffffffffffffff\r\n", b"%", b"X-Signature: ",
)  # fmt: skip
