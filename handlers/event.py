"""The event that a handler receives: an accepted notification, a timer or an internal event, with a typed payload."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import FrozenInstanceError, dataclass
from datetime import datetime
from typing import Any, Final, Generic, Literal

from typing_extensions import TypeVar

from ampeco.encodings import plain
from ampeco.models.frozen import FreeObject, freeze
from ampeco.models.payload import keep_body
from ampeco.notifications import Payload

INTERNAL: Final = "receiver."
"""What the types of internal events begin with: those that this service makes itself (`internal.py`)."""

TIMER: Final = "receiver.timer"
"""The type of timers in a declaration. In the log, `:` and the name of its handler follow."""

Kind = Literal["notification", "timer", "internal"]


class Raw:
    """The payload of a notification as plain data, for types without a model and for handlers of everything."""

    __slots__ = ("_data",)
    _data: Mapping[str, Any]

    def __init__(self, data: Mapping[str, Any]) -> None:
        object.__setattr__(self, "_data", data)

    @property
    def data(self) -> Mapping[str, Any]:
        """The JSON object AMPECO sent (an outer `data` wrapper removed), read-only: a `dict` that refuses changes."""
        found = self._data
        if not isinstance(found, FreeObject):  # done when first asked for: not every handler looks at it
            found = freeze(dict(found))
            object.__setattr__(self, "_data", found)
        return found

    def __setattr__(self, name: str, value: object) -> None:
        raise FrozenInstanceError(f"cannot assign to field {name!r}")

    def __delattr__(self, name: str) -> None:
        raise FrozenInstanceError(f"cannot delete field {name!r}")

    def __eq__(self, other: object) -> bool:
        return self.data == other.data if isinstance(other, Raw) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[Any, ...]:
        return Raw, (self.data,)

    def __repr__(self) -> str:
        return f"Raw(data={self.data!r})"


P = TypeVar("P", bound=Payload | Raw, covariant=True)


@dataclass(frozen=True, slots=True)
class Echo:
    """The call of a handler whose effect an event seems to show. Something else may have had the same effect then.

    Attributes:
        action: name of the operation that was called, e.g. `charge-point.change-availability`.
        handler: name of the handler that called it; it may be another one.
        event_id: the event that this handler was handling.
        called_at: when (UTC).
    """

    action: str
    handler: str
    event_id: str
    called_at: datetime


@dataclass(frozen=True, slots=True)
class Event(Generic[P]):
    """An accepted notification, as one handler sees it.

    Attributes:
        id: `<lane>-<ms>-<seq>`; the same for every handler and every attempt.
        type: AMPECO's notification type, e.g. `SessionUpdateNotification`.
        key: the entity it is about, e.g. `session:4711`, or None.
        received_at: when it was accepted (UTC).
        occurred_at: the payload's own time (UTC), or None where it carries none.
        payload: typed as declared.
        raw: the bytes that AMPECO signed; of an internal event, its JSON.
        encoding: how `raw` stands for JSON text, e.g. `gzip` or `utf-16` (`ampeco.encodings`); empty for plain UTF-8.
        misfits: fields of the payload that do not fit their type, by dotted wire name, e.g. `session.energy`. An
            optional one is None; reading a required one raises `FieldMisfit`.
        maybe_repeat: an equal body was accepted before, and this may be the same event or another one.
        replayed: delivered again because an operator asked for it.
        reconstructed: made from the state of a resource instead of received.
        echo_of: the call of a handler, within the last minutes, that this event seems to show, or None.
    """

    id: str
    type: str
    key: str | None
    received_at: datetime
    occurred_at: datetime | None
    payload: P
    raw: bytes
    maybe_repeat: bool = False
    replayed: bool = False
    reconstructed: bool = False
    misfits: tuple[str, ...] = ()
    echo_of: Echo | None = None
    encoding: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.payload, Raw):
            keep_body(self.payload, plain(self.raw, self.encoding) if self.encoding else self.raw)

    @property
    def kind(self) -> Kind:
        """`notification` of AMPECO's, `timer` that the handler set, or `internal`, which this service announces."""
        if not self.type.startswith(INTERNAL):
            return "notification"
        return "timer" if is_timer(self.type) else "internal"


def is_timer(type: str) -> bool:
    """Return whether an event of this type is a timer of a handler that fell due."""
    return type.startswith(TIMER) and type[len(TIMER) : len(TIMER) + 1] in ("", ":")
