"""Records what an operator is about to change: who, what, plan and count."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from commands.output import print_line

if TYPE_CHECKING:
    from eventlog.log import EventLog


@contextlib.asynccontextmanager
async def acting(
    log: EventLog,
    what: str,
    plan: Mapping[str, Any],
    count: int | None = None,
    *,
    is_counted: bool = False,
) -> AsyncIterator[str]:
    """Carry out an act in this block, which gets its id. The act is recorded first.

    The record is removed if the log refuses the act before anything was changed.

    Args:
        what: the command, e.g. `dead retry`.
        plan: what was selected, as it was asked for.
        count: how many it is about.
        is_counted: each change in this block counts, so that an act that stops half-way says how far it came.
    """
    from eventlog.audit import Act, take_back, write
    from eventlog.errors import LogError

    written = await write(
        log, Act(_user(), socket.gethostname(), "cli", what, plan, count), is_counted=is_counted
    )
    try:
        yield written
    except LogError:
        await take_back(log, written)
        raise


@contextlib.contextmanager
def resumable(how: str) -> Iterator[None]:
    """Say how to go on, where Ctrl-C or a failure ends this block. What the log or Redis refuses needs no hint."""
    from redis.exceptions import ResponseError

    from eventlog.errors import LogError

    try:
        yield
    except (LogError, ResponseError):
        raise
    except BaseException:  # also of a task that is cancelled
        print_line(f"not finished; {how} goes on", err=True)
        raise


def _user() -> str:
    """Return the user of this process, not what its environment says."""
    import pwd

    user_id = os.getuid()
    try:
        return pwd.getpwuid(user_id).pw_name
    except KeyError:  # usual in a container
        return f"uid {user_id}"
