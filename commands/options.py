"""The options that several commands share, and the log they work on."""

from __future__ import annotations

import asyncio
import contextlib
import math
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import click

from commands import store_url
from eventlog.clock import now_ms
from eventlog.ids import HANDLER_NAME

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from eventlog.log import EventLog
    from receiver.settings import Settings

_T = TypeVar("_T")
_Command: TypeAlias = Callable[..., Any]

as_json = click.option("--json", "as_json", is_flag=True, help="One JSON document.")
confirm = click.option("--yes", is_flag=True, help="Make the change; without it, only show the plan.")
load = click.option(
    "--load", multiple=True, metavar="MODULE|FILE", help="More handlers, added to the installed plugins."
)
trust_handler = click.option(
    "--trust-handler",
    is_flag=True,
    help="Run a handler dry although it does not declare dry_run=True; what it does by itself is not stopped.",
)
limit = click.option(
    "--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="Maximum number of rows."
)
only_type = click.option("--type", "type_", metavar="TYPE", help="Only this notification type.")
only_key = click.option("--key", metavar="ENTITY", help="Only this entity, e.g. session:4711.")
before = click.option("--before", metavar="ID", help="Next page: the last id of the previous page.")

_AGO = re.compile(r"(?:-\s*([0-9]{1,12})\s*([smhd])|([0-9]{1,12})\s*([smhd])\s*ago)")
_LAST_MS = 253_402_300_799_999  # the end of the year 9999
_UNITS_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


def moment_ms(text: str, *, now_ms: int) -> int:
    """Return the Unix ms of an RFC 3339 moment, or of one so long ago (`2h ago`, `-30m`); else raise ValueError.

    A moment before 1970 counts as 1970: no event is older.
    """
    if found := _AGO.fullmatch(text.strip()):
        number, unit = found[1] or found[3], found[2] or found[4]
        return max(0, now_ms - int(number) * _UNITS_MS[unit])
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise ValueError(
            f"{text[:40]!r} is not a time; write it like 2026-11-24T06:00:00Z, or like '2h ago' (s, m, h, d)"
        )
    return min(max(0, round(at.timestamp() * 1000)), _LAST_MS)


class Moment(click.ParamType[int]):
    """A moment as an option; Unix milliseconds."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        try:
            return moment_ms(str(value), now_ms=now_ms())
        except ValueError as error:
            self.fail(str(error), param, ctx)


def together(*options: Callable[[_Command], _Command]) -> Callable[[_Command], _Command]:
    """Return one decorator for several options, which the help shows in this order."""

    def add(command: _Command) -> _Command:
        for option in reversed(options):
            command = option(command)
        return command

    return add


def since_until(what: str) -> Callable[[_Command], _Command]:
    """Return the options --since and --until of a selection.

    Args:
        what: begins their help, e.g. `Given up`.
    """
    since = f"{what} since this time; RFC 3339, or '2h ago'."
    return together(
        click.option("--since", "since_ms", type=Moment(), metavar="TIME", help=since),
        click.option("--until", "until_ms", type=Moment(), metavar="TIME", help=f"{what} before this time."),
    )


class Finite(click.FloatRange):
    """A number in a range. `nan` lies in every range that only compares, and `inf` in every open one."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a finite number", param, ctx)
        return number


class HandlerName(click.ParamType[str]):
    """A name that a new handler may have."""

    name = "name"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not HANDLER_NAME.fullmatch(value):
            self.fail(
                f"{value!r}: a name is lower case letters, digits, dots and dashes, at most 64", param, ctx
            )
        return str(value)


def log_of(settings: Settings, redis: Redis) -> EventLog:
    """Return the log of these settings, to inspect and operate it."""
    from eventlog.log import EventLog

    return EventLog(
        redis,
        prefix=settings.key_prefix,
        lanes=settings.lanes,
        duplicate_hours=settings.duplicate_hours,
        ledger_days=settings.ledger_days,
    )


@contextlib.asynccontextmanager
async def stored_log(settings: Settings) -> AsyncIterator[EventLog]:
    """Open the log with the number of lanes it was created with, which wins over AWR_LANES."""
    from eventlog.connection.connect import connect
    from eventlog.ownership import lanes_kept

    async with connect(store_url(settings)) as redis:
        log = log_of(settings, redis)
        log.lanes = await lanes_kept(log) or settings.lanes
        yield log


def on_log(settings: Settings, work: Callable[[EventLog], Awaitable[_T]]) -> _T:
    """Open the log, and return what `work` makes of it."""

    async def run() -> _T:
        async with stored_log(settings) as log:
            return await work(log)

    return asyncio.run(run())
