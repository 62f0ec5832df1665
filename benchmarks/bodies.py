"""Meter values as a tenant sends them: about 700 bytes, every one different, 500 sessions in turn."""

from __future__ import annotations

from collections.abc import Iterator

from ampeco.signature import SIGNATURE_HEADER, SigningKey, sign

TYPE = "SessionMeterValuesNotification"
PATH = "/webhooks/ampeco"
SECRET = "benchmark-signing-key"
SESSIONS = 500

_READING = b'{"timestamp":"%b","measurand":"%b","value":%b,"unit":"%b"}'
_BODY = (
    b'{"notification":"SessionMeterValuesNotification","sessionId":%d,"externalSessionId":"b1f6c0de%08x",'
    b'"chargePointId":%d,"evseId":%d,"meterValues":[%b,%b,%b,%b]}'
)
_REQUEST = (
    b"POST %b HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: AMPECO\r\nAccept: */*\r\n"
    b"Content-Type: application/json\r\nContent-Length: %d\r\n%b: %b\r\n\r\n%b"
)


def session(number: int) -> int:
    """The charging session that body `number` is about."""
    return 400_000 + number % SESSIONS


def body(number: int) -> bytes:
    """One notification; equal numbers make equal bodies."""
    at = b"2026-11-24T%02d:%02d:%02d.000Z" % (number // 3600 % 24, number // 60 % 60, number % 60)
    which = number % SESSIONS
    readings = (
        _READING % (at, b"Energy Active Import Register", b"%d" % (1_000_000 + number), b"Wh"),
        _READING % (at, b"State Of Charge", b"%d.%d" % (20 + which % 80, which % 10), b"Percent"),
        _READING % (at, b"Current Import", b"%d.%02d" % (10 + which % 22, which % 100), b"A"),
        _READING % (at, b"Voltage", b"23%d.%d" % (which % 10, which % 7), b"V"),
    )
    return _BODY % (session(number), which, 1_000 + which // 2, 2_000 + which, *readings)


def signed_requests(first: int, count: int) -> Iterator[bytes]:
    """Whole HTTP requests, from body `first` on."""
    key = SigningKey.of(SECRET)
    path, header = PATH.encode(), SIGNATURE_HEADER.encode()
    for number in range(first, first + count):
        content = body(number)
        yield _REQUEST % (path, len(content), header, sign(content, key).encode(), content)
