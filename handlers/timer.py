"""Timers of a handler: the payload of one that fell due, and what may be asked for.

A timer belongs to one handler and one entity, and has a name. A handler gets its timers when its event is annotated
with `Timer`, as in `Event[SessionUpdate | Timer]`.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, ClassVar, Final, NamedTuple

from pydantic import AfterValidator, BaseModel, Field

from ampeco.models.frozen import freeze
from ampeco.notifications import Payload
from handlers.event import TIMER
from handlers.outcomes import TimerRefused

LONGEST_DELAY_S: Final = 30 * 86_400.0
MOST_TIMERS: Final = 16  # of one handler and entity
MAX_DATA_BYTES: Final = 1024
MAX_NAME_CHARS: Final = 100

_GENERATION_BYTES = 6


class Timer(Payload):
    """A timer of this handler fell due. Derive a class from it to give `data` a type.

    Attributes:
        name: as the handler named it.
        due_at: when it fell due (UTC).
        set_by: id of the event that set it.
        data: what was given to `ctx.later`, read-only; None without.
    """

    notification_types: ClassVar[tuple[str, ...]] = (TIMER,)

    name: str
    due_at: datetime = Field(alias="due")
    set_by: str = ""
    data: Annotated[Any, AfterValidator(freeze)]


class SetTimer(NamedTuple):
    """A timer to set. It takes effect when its event is settled as done or skipped.

    Attributes:
        delay_s: seconds from `at_s`, a moment of the monotonic clock.
        data: JSON text; empty for none.
        generation: tells it from an earlier timer of its name.
    """

    name: str
    delay_s: float
    data: str
    generation: str
    at_s: float

    @property
    def left_s(self) -> float:
        """How many of the seconds are left now."""
        return max(0.0, self.delay_s - (time.monotonic() - self.at_s))


def timer_type(handler: str) -> str:
    """Return the type that timers of a handler have in the log."""
    return f"{TIMER}:{handler}"


def checked_timer(
    name: object, delay_s: object, data: object, *, at_s: Callable[[], float] = time.monotonic
) -> SetTimer:
    """Check what a handler asks for.

    Raises:
        TimerRefused: the name, the delay or the data are out of bounds.
    """
    if type(delay_s) not in (int, float):
        raise TimerRefused("timer-delay", f"timer {checked_name(name)!r}: delay_s is a number of seconds")
    if not 0 <= delay_s <= LONGEST_DELAY_S:  # type: ignore[operator]
        raise TimerRefused(
            "timer-delay",
            f"timer {checked_name(name)!r}: delay_s is from 0 to {LONGEST_DELAY_S:.0f} seconds (30 days)",
        )
    text = _data_text(checked_name(name), data)
    generation = secrets.token_urlsafe(_GENERATION_BYTES)
    return SetTimer(checked_name(name), float(delay_s), text, generation, at_s())  # type: ignore[arg-type]


def checked_name(name: object) -> str:
    """Check the name of a timer.

    Raises:
        TimerRefused: it is not a name.
    """
    if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME_CHARS or not str(name).isprintable():
        raise TimerRefused(
            "timer-name", f"the name of a timer is printable text of 1 to {MAX_NAME_CHARS} characters"
        )
    return str(name)


def _data_text(name: str, data: object) -> str:
    if data is None:
        return ""
    try:
        if isinstance(data, BaseModel):
            text = data.model_dump_json(by_alias=True)
        else:
            text = json.dumps(data, allow_nan=False, separators=(",", ":"), ensure_ascii=False)
        size = len(text.encode())
    except Exception:  # noqa: BLE001 - an object of the author's: reading it may raise anything
        raise TimerRefused("timer-data", f"timer {name!r}: data is JSON, or a pydantic model") from None
    if size > MAX_DATA_BYTES:
        raise TimerRefused(
            "timer-data", f"timer {name!r}: data has {size:,} bytes, and at most {MAX_DATA_BYTES:,} are kept"
        )
    return text
