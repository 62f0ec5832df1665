"""What a handler receives: one accepted notification with a typed payload."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import FrozenInstanceError, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Generic

from typing_extensions import TypeVar

from ampeco.models.frozen import FreeObject, freeze
from ampeco.models.payload import keep_body
from ampeco.notifications import Payload


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


class _Dated:
    """Finds the two times of an event at their first use: most handlers never read them."""

    __slots__ = ("_find_time",)

    if not TYPE_CHECKING:  # a type checker would take every name for an existing one

        def __getattr__(self, name: str) -> Any:  # called only for what is not there (yet)
            if name not in ("received_at", "occurred_at"):
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
            found = self._find_time(name)
            object.__setattr__(self, name, found)
            return found


@dataclass(frozen=True, slots=True)
class Event(_Dated, Generic[P]):
    """An accepted notification, as one handler sees it.

    Attributes:
        id: `<lane>-<ms>-<seq>`; the same for every handler and every attempt.
        type: AMPECO's notification type, e.g. `SessionUpdateNotification`.
        key: the entity it is about, e.g. `session:4711`, or None.
        received_at: when it was accepted (UTC).
        occurred_at: the payload's own time (UTC), or None where it carries none.
        payload: typed as declared.
        raw: the bytes that AMPECO signed.
        misfits: fields of the payload that do not fit their type, by dotted wire name, e.g. `session.energy`. An
            optional one is None; reading a required one raises `FieldMisfit`.
        maybe_repeat: an equal body was accepted before, and this may be the same event or another one.
        replayed: delivered again on somebody's request.
        reconstructed: made from the state of a resource instead of received.
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

    def __post_init__(self) -> None:
        if isinstance(self.payload, Payload):
            keep_body(self.payload, self.raw)


def event_dated_later(
    find_time: Callable[[str], datetime | None],
    *,
    id: str,
    type: str,
    key: str | None,
    payload: Payload | Raw,
    raw: bytes,
    maybe_repeat: bool,
    replayed: bool,
    misfits: tuple[str, ...] = (),
) -> Event[Any]:
    """An event like any other, for the worker: `find_time` is asked for its two times by name, and when needed."""
    event: Event[Any] = object.__new__(Event)
    put = object.__setattr__
    put(event, "_find_time", find_time)
    put(event, "id", id)
    put(event, "type", type)
    put(event, "key", key)
    put(event, "payload", payload)
    put(event, "raw", raw)
    put(event, "maybe_repeat", maybe_repeat)
    put(event, "replayed", replayed)
    put(event, "reconstructed", False)
    put(event, "misfits", misfits)
    if not isinstance(payload, Raw):
        keep_body(payload, raw)
    return event
