"""Makes an element of the log from verified bytes: an event, or an entry for the quarantine.

It decides type and key of the event, and whether an equal body is a duplicate. It knows nothing of HTTP and Redis.
Bodies that are not plain UTF-8 are read too: with a byte order mark, as UTF-16, in gzip. Decoding is tried only after
plain reading has failed, so that ordinary bodies pay nothing.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final, Protocol

from ampeco.encodings import MOST_BYTES, decoded
from ampeco.errors import PayloadError
from ampeco.names import NAME_MAX_BYTES
from ampeco.notifications import DEFAULT_RULES, EntityKeyRules, recognize
from eventlog.internal import is_internal
from eventlog.log import NewEvent, Unreadable, digest_of
from eventlog.record import encoding_mark, written_mark
from receiver.logging import get_logger

ENCODING_HEADER: Final = b"content-encoding"
_PLAIN: Final = frozenset(("", "identity"))
_GZIP: Final = frozenset(("gzip", "x-gzip"))
_NAMES: Final = re.compile(r"[a-z0-9._+-]{1,20}(?: ?, ?[a-z0-9._+-]{1,20}){0,3}")
_log = get_logger(__name__)


class Verified(Protocol):
    """Bytes that were signed with one of our keys, and when and how they arrived."""

    @property
    def body(self) -> bytes: ...
    @property
    def key_id(self) -> str: ...
    @property
    def received_at_ms(self) -> int: ...
    @property
    def stale(self) -> bool: ...
    @property
    def headers(self) -> Iterable[tuple[bytes, bytes]]: ...


class ElementReader:
    """Reads verified bytes.

    Args:
        rules: name the payload field with the entity key; also an attribute.
        most_bytes: how much of a packed body is unpacked.
    """

    def __init__(self, rules: EntityKeyRules = DEFAULT_RULES, *, most_bytes: int = MOST_BYTES) -> None:
        self.rules = rules
        self._most_bytes = most_bytes

    def read(self, delivery: Verified) -> NewEvent | Unreadable:
        """Return the element for the log: an event, or an entry for the quarantine. Never raises."""
        try:
            arrived = datetime.fromtimestamp(delivery.received_at_ms / 1000, UTC)
            try:
                found = recognize(delivery.body, rules=self.rules, received_at=arrived)
                encoding, digest = "", b""
            except PayloadError as error:
                text, encoding = self._decoded(delivery, error)
                found = recognize(text, rules=self.rules, received_at=arrived)
                digest = digest_of(text)
        except PayloadError as error:
            return _unreadable(delivery, error.reason)
        except Exception as error:  # noqa: BLE001 - our own fault must not lose a verified event
            _log.error("event.unreadable", error=type(error).__name__)
            return _unreadable(delivery, "parser-failed")
        if is_internal(found.type):
            return _unreadable(delivery, "reserved-type")
        if len(found.type) * 4 > NAME_MAX_BYTES and len(found.type.encode()) > NAME_MAX_BYTES:
            return _unreadable(delivery, "type-too-long")
        mark = "stale" if delivery.stale else ""
        if encoding:
            mark = _joined(mark, encoding_mark(encoding))
        return NewEvent(
            found.type,
            found.key,
            delivery.body,
            delivery.received_at_ms,
            delivery.key_id,
            duplicates="mark" if found.occurred_at is None else "drop",
            mark=written_mark(mark, found.occurred_at),
            nonce=os.urandom(12),
            digest=digest,
        )

    def _decoded(self, delivery: Verified, fault: PayloadError) -> tuple[bytes, str]:
        """Return text and encoding of a body that is not plain JSON; raise `fault` if it is not encoded either."""
        text, encoding = decoded(delivery.body, most_bytes=self._most_bytes)
        if encoding:
            return text, encoding
        said = said_encoding(delivery.headers)
        if fault.reason == "not-json" and said not in _PLAIN:
            raise PayloadError("gzip-damaged" if said in _GZIP else "encoding-unknown")
        raise fault


def said_encoding(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """Return what the headers say about the encoding of a body, in lower case; `other` for anything but a plain name.

    No signature covers the header, so it is only shown to people.

    Args:
        headers: names in lower case.
    """
    said = b", ".join(value for name, value in headers if name == ENCODING_HEADER)
    text = said.decode("latin-1").strip().lower()
    return text if not text or _NAMES.fullmatch(text) else "other"


def _unreadable(delivery: Verified, reason: str) -> Unreadable:
    return Unreadable(
        delivery.body,
        reason,
        delivery.received_at_ms,
        delivery.key_id,
        mark="stale" if delivery.stale else "",
        encoding=said_encoding(delivery.headers),
    )


def _joined(*marks: str) -> str:
    return ",".join(filter(None, marks))
