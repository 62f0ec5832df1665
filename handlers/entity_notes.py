"""The notes of one attempt about the entity of its event: timers to set or cancel, and a new state.

No note takes effect before the event is settled as done or skipped. It knows no Redis.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, Final, get_origin

from pydantic import TypeAdapter

from handlers.outcomes import StateRefused, TimerRefused
from handlers.timer import MOST_TIMERS, SetTimer, checked_name, checked_timer

MAX_STATE_BYTES: Final = 4 * 1024

_UNREAD: Any = object()


class EntityNotes:
    """The timers and the state of one entity at one handler, as one attempt sees and changes them.

    Args:
        key: of the handler for this event; None when the event has none.
        timers: name -> generation of those that are pending; None when the handler gets no timers.
        model: declared type of the state; None when the handler has none.
        document: the state as JSON text; empty when there is none.

    Attributes:
        changes: name -> timer to set, or None to cancel it.
        document: the state as JSON text, after `close` with the handler's changes.
        is_changed: whether the state is to be written.
    """

    def __init__(
        self,
        key: str | None,
        *,
        timers: Mapping[str, str] | None = None,
        model: Any = None,
        document: str = "",
    ) -> None:
        self.changes: dict[str, SetTimer | None] = {}
        self.document = document
        self.is_changed = False
        self._key = key
        self._timers = timers
        self._model = model
        self._value: Any = _UNREAD

    def later(self, name: str, delay_s: float, data: Any) -> None:
        """Note a timer to set."""
        pending = self._pending()
        timer = checked_timer(name, delay_s, data)
        if timer.name not in pending and len(pending) >= MOST_TIMERS:
            raise TimerRefused(
                "timer-too-many",
                f"timer {timer.name!r}: {MOST_TIMERS} timers of this handler are pending for the entity",
            )
        self.changes[timer.name] = timer

    def cancel(self, name: str) -> bool:
        """Note a timer to cancel; False when none of that name is pending."""
        pending = self._pending()
        if checked_name(name) not in pending:
            return False
        self.changes[name] = None
        return True

    def read(self) -> Any:
        """Return the state as the declared type; None when there is none."""
        if self._model is None:
            raise StateRefused("state-undeclared", "ctx.entity_state needs @handler(entity_state=...)")
        if self._key is None:
            raise StateRefused("state-without-key", "ctx.entity_state: this event is about no entity")
        if self._value is _UNREAD:
            self._value = self._parsed()
        return self._value

    def write(self, value: Any) -> None:
        """Note another state; None removes it."""
        if self._model is None or self._key is None:
            self.read()  # it says why not
        self._text(value)
        self._value = value

    def close(self) -> None:
        """Collect the handler's changes, also those inside the object that it was given.

        Raises:
            StateRefused: the state cannot be kept as it is now.
        """
        if self._value is not _UNREAD and (text := self._text(self._value)) != self.document:
            self.document, self.is_changed = text, True

    def _pending(self) -> set[str]:
        if self._timers is None:
            raise TimerRefused(
                "timer-undeclared",
                "ctx.later needs an event that may be a timer: Event[... | Timer]; "
                'of an Event[Raw], "receiver.timer" in on=',
            )
        if self._key is None:
            raise TimerRefused("timer-without-key", "ctx.later: this event is about no entity")
        names = set(self._timers)
        for name, change in self.changes.items():
            (names.discard if change is None else names.add)(name)
        return names

    def _parsed(self) -> Any:
        if not self.document:
            return None
        try:
            return _adapter(self._model).validate_json(self.document)
        except Exception:  # noqa: BLE001 - validators are code of the author's
            raise StateRefused(
                "state-misfit",
                f"what is kept of the entity does not fit {_name(self._model)}: give new fields a default",
            ) from None

    def _text(self, value: Any) -> str:
        if value is None:
            return ""
        try:
            if isinstance(self._model, type) and self._model is not Any:
                wanted: type[object] = self._model
                if not isinstance(value, wanted):
                    raise TypeError
            text = _adapter(self._model).dump_json(value, by_alias=True, warnings="error").decode()
            _adapter(self._model).validate_json(text)
        except Exception:  # noqa: BLE001 - an object of the author's: reading it may raise anything
            raise StateRefused(
                "state-type", f"ctx.entity_state is a {_name(self._model)} that JSON can hold, or None"
            ) from None
        if (size := len(text.encode())) > MAX_STATE_BYTES:
            raise StateRefused(
                "state-too-large",
                f"ctx.entity_state has {size:,} bytes, and at most {MAX_STATE_BYTES:,} are kept",
            )
        return text


UNDECLARED: Final = EntityNotes(None)
"""The notes of a handler that has neither timers nor a state: each use raises what to declare."""


@cache
def _adapter(model: Any) -> TypeAdapter[Any]:
    return TypeAdapter(model)


def _name(model: Any) -> str:
    return str(model) if get_origin(model) else getattr(model, "__name__", None) or str(model)
