"""`Upgrade` is served as if it were absent: the head of such a request is written again without it."""

from __future__ import annotations

from receiver.answers import Headers


def head_without_upgrade(method: bytes, url: bytes, version: str, headers: Headers) -> bytes:
    """Return the bytes of a head, for a new parser.

    Args:
        version: of HTTP, such as `1.1`.
        headers: as they came, names in lower case.
    """
    line = b"%b %b HTTP/%b\r\n" % (method, url, version.encode())
    return line + b"".join(b"%b: %b\r\n" % header for header in _others(headers)) + b"\r\n"


def _others(headers: Headers) -> Headers:
    found = []
    for name, value in headers:
        if name == b"connection":
            tokens = [token.strip() for token in value.split(b",")]
            value = b", ".join(token for token in tokens if token.lower() != b"upgrade")
        if name != b"upgrade" and value:
            found.append((name, value))
    return found
