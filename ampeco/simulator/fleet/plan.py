"""What a scenario does, as plain values: the fleet, how charge points behave, habits, and faults with their times."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field

from ampeco.simulator.switches import PerSecond, Seconds, Share

FaultKind = Literal["habits", "disable-subscriptions", "fault-charge-points", "add-token", "remove-token"]
FAULTS: Mapping[FaultKind, str] = {
    "habits": "the tenant has other habits (`habits`), and its own again at `to_s`",
    "disable-subscriptions": "all notification subscriptions are disabled, and enabled again at `to_s`",
    "fault-charge-points": "a `share` of the charge points is faulted at `from_s`; a reset ends the fault of one",
    "add-token": "the API token `token` is known from `from_s` on",
    "remove-token": "the oldest API token is unknown from `from_s` on",
}

_Span = Annotated[tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1, le=10_000_000)]], "from, to"]


def _utc(at: datetime) -> datetime:
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How charge points live, on simulated time.

    Attributes:
        fault_share: cycles that end in a fault instead of a session.
        faulted_s: until a technician reaches a faulted charge point, unless a reset comes first.
        idle_s: shortest and longest pause between two cars.
        session_s: shortest and longest session; None = 15 to 40 minutes on DC, 30 to 90 on AC.
        readings: fewest and most meter values notifications of a session.
        fault_at_first: one charge point faults in its first cycle, so that a short run shows a fault.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    fault_share: Share = 1 / 25
    faulted_s: Annotated[int, Field(ge=1)] = 3 * 3600  # about three cycles, then a technician comes
    idle_s: _Span = (30, 900)
    session_s: _Span | None = None
    readings: _Span = (5, 12)
    fault_at_first: bool = True

    def __post_init__(self) -> None:
        for name in ("idle_s", "session_s", "readings"):
            span: tuple[int, int] | None = getattr(self, name)
            if span is not None and span[0] > span[1]:
                raise ValueError(f"{name} goes from {span[0]} down to {span[1]}")


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that goes wrong for a while.

    Attributes:
        what: one of FAULTS.
        from_s: seconds after the start of the scenario, on the clock of the wall.
        to_s: when it is over; None = never.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    what: FaultKind
    from_s: Seconds = 0.0
    to_s: Seconds | None = None
    habits: Mapping[str, Any] = field(default_factory=dict)
    share: Share = 1.0
    token: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.to_s is not None and self.to_s <= self.from_s:
            raise ValueError(f"to_s ({self.to_s:g}) is not after from_s ({self.from_s:g})")
        if (self.what == "habits") != bool(self.habits):
            raise ValueError("a fault is called habits and says in `habits` which, or has none")
        if self.what == "add-token" and not self.token:
            raise ValueError("add-token needs a token")


@dataclass(frozen=True, slots=True)
class Plan:
    """What a scenario does. `rate` in notifications per second, None = as fast as they are taken.

    Attributes:
        wall_clock: times in notifications and resources are those of the wall, so that listings can be filtered by
            them as at a real tenant. Otherwise they are of simulated time, which begins a week ago and runs faster.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    about: str = ""
    charge_points: Annotated[int, Field(ge=1, le=100_000)] = 20
    rate: PerSecond | None = 50.0
    count: Annotated[int, Field(ge=0)] | None = None
    seed: int = 1
    start_at: Annotated[datetime, AfterValidator(_utc)] | None = None
    wall_clock: bool = False
    behaviour: Behaviour = Behaviour()
    habits: Mapping[str, Any] = field(default_factory=dict)
    faults: tuple[Fault, ...] = ()
