"""Pack and unpack the history of settled deliveries. Pure: bytes in and out.

One stream entry holds what one step settled; its id holds the time. A delivery that succeeded at once takes 13 bytes,
so a week of them fits. Only other deliveries carry text.

    8 bytes  id of the event in its lane: milliseconds << 20 | number
    4 bytes  CRC-32 of the entity key, to find an entity without keeping its name; 0 without a key
    1 byte   outcome; + 0x80 when detail follows:
    4 bytes  length, then JSON {"reason": ..., "attempts": [[at_ms, outcome, detail, [action, ...]], ...]}
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from eventlog.attempt_notes import AttemptNote, kept_note, kept_text, notes_of
from eventlog.errors import UnknownRecord

OUTCOMES = ("done", "skipped", "filtered", "not-wanted", "superseded", "dead")

_HEAD = struct.Struct(">QIB")
_LENGTH = struct.Struct(">I")
_DETAIL = 0x80
_SEQ_BITS = 20
_CODES = {outcome: code for code, outcome in enumerate(OUTCOMES, 1)}


class Settled(NamedTuple):
    """The end of one delivery. A tuple, since one is made for every delivery.

    Attributes:
        stream_id: of the event, in the lane that the history belongs to.
        key_hash: `hash_of` its entity key.
        outcome: one of `OUTCOMES`.
        reason: the author's words, or the slug of a dead letter; empty after plain success.
        attempts: oldest first; empty after plain success at the first attempt.
    """

    stream_id: str
    key_hash: int
    outcome: str
    reason: str = ""
    attempts: tuple[AttemptNote, ...] = ()


def hash_of(key: str | None) -> int:
    """Return the hash of an entity key in the history; two keys may share it."""
    return 0 if key is None else zlib.crc32(key.encode()) or 1


def id_bytes(stream_id: str) -> bytes:
    """Return the packed form of an event id, to search for it without unpacking."""
    ms, _, seq = stream_id.partition("-")
    return (int(ms) << _SEQ_BITS | int(seq)).to_bytes(8)


def key_bytes(key: str) -> bytes:
    """Return the packed form of an entity key."""
    return hash_of(key).to_bytes(4)


def encode(deliveries: Iterable[Settled]) -> bytes:
    """Pack what one step settled; empty for nothing."""
    packed = bytearray()
    for stream_id, key_hash, outcome, reason, attempts in deliveries:
        ms, _, seq = stream_id.partition("-")
        code = _CODES[outcome]
        eventful = reason or attempts
        packed += _HEAD.pack(int(ms) << _SEQ_BITS | int(seq), key_hash, code | _DETAIL if eventful else code)
        if eventful:
            detail = {"reason": kept_text(reason), "attempts": [kept_note(note) for note in attempts]}
            text = json.dumps({k: v for k, v in detail.items() if v}, separators=(",", ":")).encode()
            packed += _LENGTH.pack(len(text)) + text
    return bytes(packed)


def decode(data: bytes) -> list[Settled]:
    """The inverse of `encode`.

    Raises:
        UnknownRecord: unknown code packed it, or it is cut short.
    """
    try:
        return list(_unpacked(data))
    except (struct.error, LookupError, TypeError, ValueError) as error:
        raise UnknownRecord("an entry of the history cannot be read") from error


def _unpacked(data: bytes) -> Iterator[Settled]:
    at = 0
    while at < len(data):
        number, key_hash, code = _HEAD.unpack_from(data, at)
        at += _HEAD.size
        detail = {}
        if code & _DETAIL:
            (length,) = _LENGTH.unpack_from(data, at)
            at += _LENGTH.size
            detail = json.loads(data[at : at + length])
            at += length
        yield Settled(
            stream_id=f"{number >> _SEQ_BITS}-{number & (1 << _SEQ_BITS) - 1}",
            key_hash=key_hash,
            outcome=_outcome(code & ~_DETAIL),
            reason=kept_text(detail.get("reason")),
            attempts=notes_of(detail.get("attempts", ())),
        )


def _outcome(code: int) -> str:
    if not 1 <= code <= len(OUTCOMES):
        raise ValueError(f"outcome {code}")
    return OUTCOMES[code - 1]
