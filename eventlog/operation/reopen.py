"""Puts settled events of a handler back into `open`, to run once more: a retry of the dead, or a replay.

They run in the order of the log among themselves and before whatever of their entity has not started yet; against
events that ran meanwhile they are late, which is what was asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from eventlog.errors import ChangeRefused
from eventlog.log import EventLog
from eventlog.operation.handlers import unknown_handler
from eventlog.record import OPEN_QUOTA, OpenRecord, encode_open

BATCH = 64

Answer = Literal["put", "open", "waiting", "gone"]


class Again(NamedTuple):
    """One event to run again, and the id of its dead letter ('' = it has none)."""

    record: OpenRecord
    letter: str = ""


class LettersUnread(Exception):
    """Somebody who goes by the events, not by their letters, does not know the newest letter yet."""


class Progress(NamedTuple):
    """A note that changes with a batch or not at all: what it says now, and what it is to say then."""

    now: str
    then: str


async def reopen(
    log: EventLog,
    handler: str,
    lane: int,
    batch: Sequence[Again],
    *,
    room: int = OPEN_QUOTA,
    progress: Progress | None = None,
    letters_read: str = "",
) -> list[Answer] | None:
    """Put a batch into `open`, in one change.

    Args:
        room: records that `open` may hold afterwards.
        letters_read: for a replay, the last dead letter of the handler that was looked at: all of the events that
            have one must come with it. Empty for a retry, in which a letter that is gone means that it is too late.

    Returns:
        Of each event: `put`; `open` when it is there already; `waiting` when it is not settled yet; `gone` when its
        dead letter is. None when there is no room for the batch: nothing was changed.

    Raises:
        UnknownName: no such handler is registered.
        ChangeRefused: somebody else moved the progress meanwhile.
        LettersUnread: nothing was changed, since there is a letter after `letters_read`.
    """
    now, then = progress or ("", "")
    arguments: list[str | int | bytes] = [log.prefix, handler, lane, room, now, then, letters_read]
    for item in batch:
        arguments += (item.record.event.stream_id, item.letter, encode_open(item.record))
    status, *answers = await log.scripts.reopen(args=arguments)
    match status:
        case b"ok":
            return [answer.decode() for answer in answers]
        case b"full":
            return None
        case b"unread":
            raise LettersUnread
        case b"moved":
            raise ChangeRefused(f"another replay of {handler} is at work; let it finish")
        case _:
            raise await unknown_handler(log, handler)
