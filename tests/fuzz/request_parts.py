"""The parts that the HTTP fuzzer makes requests of: right ones, odd ones and wrong ones."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from ampeco.signature import ENCODINGS, sign
from tests.door import PATH
from tests.fuzz.ends import KEY


def signed(body: bytes) -> tuple[bytes, bytes]:
    return b"X-Signature", sign(body, KEY).encode()


def length(body: bytes) -> tuple[bytes, bytes]:
    return b"Content-Length", b"%d" % len(body)


SIGNATURES: tuple[Callable[[bytes, Random], list[tuple[bytes, bytes]]], ...] = (
    lambda body, dice: [signed(body)],
    lambda body, dice: [signed(body)],
    lambda body, dice: [],
    lambda body, dice: [(b"x-signature", sign(body + b" ", KEY).encode())],
    lambda body, dice: [(b"X-SIGNATURE", sign(body, KEY, encoding=dice.choice(ENCODINGS)).encode())],
    lambda body, dice: [
        (b"X-Signature", sign(body, KEY, prefix="sha256=").encode() + dice.choice((b"", b" ", b"\t")))
    ],
    lambda body, dice: [
        (b"X-Signature", dice.choice((b"", b"\xff\xfe", b"0" * 64, b"a" * 500, b"=", b"\x00")))
    ],
    lambda body, dice: [signed(body), signed(body)],
    lambda body, dice: [signed(body), (b"X-Signature", b"0" * 64)],
    lambda body, dice: [(b"X-Signature ", signed(body)[1])],
)
TYPES: tuple[Callable[[Random], list[tuple[bytes, bytes]]], ...] = (
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
HARMLESS = (
    (b"Connection", b"close"), (b"Connection", b"keep-alive"), (b"Connection", b"Upgrade"),
    (b"Connection", b"x, close"), (b"Upgrade", b"websocket"), (b"Upgrade", b"h2c"), (b"Expect", b"100-continue"),
    (b"Expect", b"something else"), (b"X-Timestamp", b"2026-11-24T03:50:00Z"), (b"Accept", b"*/*"),
    (b"Host", b"another"), (b"Keep-Alive", b"timeout=1"), (b"Proxy-Connection", b"close"), (b"TE", b"trailers"),
    (b"Trailer", b"X-Signature"), (b"X-Long", b"v" * 600), (b"X-Empty", b""), (b"Content-Encoding", b"gzip"),
    (b"Cookie", b"a=b; c=d"),
)  # fmt: skip
OTHERS = (
    (b"X-\xff", b"high"), (b"X-Folded", b"one\r\n two"), (b"X-Control", b"a\x01b"), (b"X-Nul", b"a\x00b"),
    (b"X-CR", b"a\rb"), (b"", b"no name"), (b"X Space", b"in the name"), (b"Content-Length ", b"3"),
)  # fmt: skip
TRAILERS = (
    b"X-Signature: 00\r\n", b"Content-Length: 5\r\n", b"Content-Type: text/plain\r\n", b"X-Trailer: value\r\n",
    b"broken trailer\r\n",
)  # fmt: skip
METHODS = (
    b"GET", b"HEAD", b"PUT", b"OPTIONS", b"DELETE", b"PATCH", b"CONNECT", b"TRACE", b"post", b"PRI", b"M-SEARCH",
    b"XYZZY", b"",
)  # fmt: skip
TARGETS = (
    b"/health/live", b"/health/ready", b"/", b"*", b"", b"/webhooks", PATH.encode() + b"/",
    PATH.encode() + b"?a=b", PATH.encode() + b"#f", b"//webhooks/ampeco", b"/webhooks/%61mpeco",
    b"http://x" + PATH.encode(), b"x:443", b"/webhooks/ampeco%00", b"/webhooks/ampeco%ff", b"/\xc3\xa9",
    b"/a b", b"http://[::1", b"/" + b"p" * 900, b"/webhooks/../webhooks/ampeco", b"/health/live?x", b"?",
    b"http://", b"/%",
)  # fmt: skip
VERSIONS = (b"1.0", b"1.0", b"2.0", b"0.9", b"1.2", b"1", b"x", b"1.1 ")
WORDS = (
    b"\r\n", b"\n", b"\r", b"\r\n\r\n", b"\x00", b"\xff", b":", b" ", b"\t", b"0\r\n\r\n",
    b"Content-Length: 0\r\n", b"Transfer-Encoding: chunked\r\n", b"GET / HTTP/1.1\r\n\r\n", b"POST ",
    b"HTTP/1.1", b"Connection: close\r\n", b"Upgrade: x\r\n", b"Expect: 100-continue\r\n",
    b"99999999999999999999", b"ffffffffffffffff\r\n", b"%", b"X-Signature: ",
)  # fmt: skip
