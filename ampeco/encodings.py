"""Decodes bodies that are not plain UTF-8, and names their encoding; knows nothing of HTTP.

The bytes themselves decide. A header that names an encoding is not signed, and a proxy may have left it behind.

An encoding is written as the parts to undo, in order, with a plus between them: `gzip`, `utf-8-sig` (UTF-8 with a
byte order mark), `utf-16` (with one), `utf-16-le`, `utf-16-be`, `gzip+utf-16`. Plain UTF-8 is the empty text.
"""

import zlib
from typing import Final

from ampeco.errors import PayloadError

GZIP: Final = b"\x1f\x8b"
"""The first bytes of a body in gzip. JSON never begins like this."""

MOST_BYTES: Final = 32 << 20
"""Largest text that is ever unpacked: the largest body that an endpoint can be set to accept."""

_GZIP_ONLY: Final = 31  # of zlib's window sizes: the largest, with gzip's header and checksum
_SIZE_BYTES: Final = 4  # at the end of gzip: the length of the text
_CHARACTERS: Final = frozenset(("utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"))


def decoded(body: bytes, *, most_bytes: int = MOST_BYTES) -> tuple[bytes, str]:
    """Return the text of a body as plain UTF-8, and the encoding that was found; empty when it is plain already.

    Args:
        most_bytes: how much is unpacked at most.

    Raises:
        PayloadError: it is damaged (`gzip-damaged`, `not-json`, `lone-surrogate`) or larger (`unpacked-too-large`).
    """
    packed = body.startswith(GZIP)
    text = _unpacked(body, most_bytes) if packed else body
    characters = _characters_of(text)
    parts = [part for part in ("gzip" if packed else "", characters) if part]
    return (_utf8(text, characters) if characters else text), "+".join(parts)


def plain(body: bytes, encoding: str) -> bytes:
    """Return the text of a body as plain UTF-8.

    Args:
        encoding: as `decoded` returned it; empty when the body is plain.

    Raises:
        PayloadError: as in `decoded`, or `encoding-unknown`: a newer version wrote its name.
    """
    if not encoding:
        return body
    packed, _, rest = encoding.partition("+")
    characters = rest if packed == "gzip" else encoding
    if characters and characters not in _CHARACTERS:
        raise PayloadError("encoding-unknown")
    text = _unpacked(body, MOST_BYTES) if packed == "gzip" else body
    return _utf8(text, characters) if characters else text


def plain_or_same(body: bytes, encoding: str) -> bytes:
    """Return the text of a body for a search; the body as it is where `plain` cannot read it."""
    try:
        return plain(body, encoding)
    except PayloadError:
        return body


def plain_size(body: bytes) -> int:
    """Return the size of a body's text in bytes, as gzip states it; that of the body where it is larger or no gzip.

    The statement is not checked before the body is unpacked.
    """
    if not body.startswith(GZIP):
        return len(body)
    return max(len(body), int.from_bytes(body[-_SIZE_BYTES:], "little"))


def _unpacked(body: bytes, most_bytes: int) -> bytes:
    unpacking = zlib.decompressobj(_GZIP_ONLY)
    try:
        text = unpacking.decompress(body, most_bytes + 1)
    except zlib.error:
        raise PayloadError("gzip-damaged") from None
    if len(text) > most_bytes:
        raise PayloadError("unpacked-too-large")
    if not unpacking.eof or unpacking.unused_data:  # cut off, or something follows
        raise PayloadError("gzip-damaged")
    return text


def _characters_of(text: bytes) -> str:
    """Name the character encoding; empty for UTF-8 without a mark. JSON begins with an ASCII character."""
    if text.startswith(b"\xef\xbb\xbf"):
        return "utf-8-sig"
    if text.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    match text[:2]:
        case b"\0\0":
            return ""
        case bytes(start) if start[1:] == b"\0":
            return "utf-16-le"
        case bytes(start) if start[:1] == b"\0" and len(start) > 1:
            return "utf-16-be"
    return ""


def _utf8(text: bytes, characters: str) -> bytes:
    if characters == "utf-8-sig":
        return text.removeprefix(b"\xef\xbb\xbf")
    try:
        return text.decode(characters).encode()
    except UnicodeDecodeError as error:
        raise PayloadError("lone-surrogate" if "surrogate" in error.reason else "not-json") from None
