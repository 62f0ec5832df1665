"""The key of an event at one handler: its entity, or what `key=` of the handler makes of it.

An author's function may raise or return anything. The error ends here, so that later events are not affected.
"""

from __future__ import annotations

import hashlib
import inspect
from dataclasses import dataclass
from typing import NamedTuple

import structlog

from ampeco.errors import FieldMisfit
from eventlog.entity_records import entity_part, is_timer, timer_mark
from eventlog.record import StoredEvent
from handlers.declaration import Handler
from handlers.event import Echo
from workers.delivery.outcomes import PAYLOAD_MISMATCH, Outcome, PayloadMismatch
from workers.delivery.raised import first_behind, name_of, text_in, where
from workers.delivery.typed_event import typed_event

KEY_MAX_BYTES = 200
_LONG_BITS = 512
_MOST_CAUSES = 100  # of which a log line was written

_log = structlog.get_logger()


class HandlerKey(NamedTuple):
    """The key of an event at one handler.

    Attributes:
        key: the entity, or `<entity>/<what key= returned>`; None for an event without an entity.
        dead: `key=` read a required field that does not fit: the end of the delivery.
        failed: what else `key=` raised and where, or what it returned that is not a key. Then the entity is the key.
    """

    key: str | None
    dead: Outcome | None = None
    failed: str = ""


class HandlerKeys:
    """The keys of a handler that declares `key=`.

    Args:
        tell: write a log line for each cause for which there is no key.
    """

    def __init__(self, handler: Handler, *, tell: bool = True) -> None:
        self._handler = handler
        self._tells = tell
        self._told: set[str] = set()

    def of(self, stored: StoredEvent) -> HandlerKey:
        """Return the key of an event; it raises nothing."""
        handler = self._handler
        model = handler.model_of(stored.type)
        if stored.key is None:
            return HandlerKey(None)
        entity = entity_part(stored.key)  # so no two entities ever share a key
        if model is None or handler.key is None:
            return HandlerKey(entity)
        if is_timer(stored.type):
            return HandlerKey(_of_timer(stored) or entity)
        try:
            said = handler.key(typed_event(_Reading(stored), model, strict=handler.strict))
        except PayloadMismatch:
            return HandlerKey(entity)  # the attempt reads the field again, and ends there
        except BaseException as error:  # noqa: BLE001 - the author's code
            misfit = first_behind(error, FieldMisfit)
            if misfit is not None:
                dead = Outcome("dead", PAYLOAD_MISMATCH, text_in(misfit, "field"), trace=where(error))
                return HandlerKey(entity, dead=dead)
            name, *lines = where(error).splitlines()
            theirs = lines[1:] or lines or ["?"]  # the first line is the call above
            return self._failed(entity, f"raised {name} at {theirs[0]}")
        part = _text_of(said)
        if part is None:
            return self._failed(entity, f"returned something of the type {name_of(type(said))}")
        return HandlerKey(f"{entity}/{part}" if part else entity)

    def _failed(self, entity: str, failed: str) -> HandlerKey:
        """Use the entity as key, and write one line for each cause."""
        if self._tells and failed not in self._told and len(self._told) < _MOST_CAUSES:
            self._told.add(failed)
            _log.warning("handler.key_failed", handler=self._handler.name, error=failed)
        return HandlerKey(entity, failed=failed)


def _of_timer(stored: StoredEvent) -> str | None:
    """Return the key under which a timer was set."""
    try:
        return timer_mark(stored.body, None).key or None
    except (KeyError, TypeError, ValueError):
        return None


@dataclass(slots=True)
class _Reading:
    """An event that is read for its key alone."""

    event: StoredEvent
    replayed: bool = False
    echo_of: Echo | None = None
    misfits: tuple[str, ...] = ()


def _text_of(said: object) -> str | None:
    """Return a key as text of at most 200 bytes: empty for the entity itself, None for what is not a key."""
    if said is None:
        return ""
    kind = type(said)
    if issubclass(kind, str):
        text = str.__str__(said)
    elif issubclass(kind, int) and kind is not bool:
        number = int.__int__(said)  # type: ignore[arg-type]
        text = str(number) if number.bit_length() < _LONG_BITS else f"{number:x}"  # str() refuses long ones
    else:
        if inspect.iscoroutine(said):
            said.close()  # it was never begun
        return None
    raw = text.encode("utf-8", "surrogatepass")
    if len(raw) <= KEY_MAX_BYTES and raw.decode("utf-8", "ignore") == text:
        return text
    return f"sha256-{hashlib.sha256(raw).hexdigest()[:32]}"
