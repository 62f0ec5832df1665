"""Put settled events of a handler back into `open`: for a retry of dead letters, or for a replay.

They run in log order, before events of their entity that have not started yet. They run after events that have
run already, as the user asked.
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
    """One event to run again, and the id of its dead letter (empty if it has none)."""

    record: OpenRecord
    letter: str = ""


class LettersUnread(Exception):
    """A replay has not read the newest dead letter yet."""


class Progress(NamedTuple):
    """A progress note that changes together with a batch: its text now, and its text then."""

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
    act: str = "",
) -> list[Answer] | None:
    """Put a batch into `open`, in one change.

    Args:
        room: records that `open` may hold afterwards.
        letters_read: for a replay, the last dead letter of the handler that was read; events with a letter must
            come with it. Empty for a retry, where a missing letter means that another command took it.
        act: id of the operator's act that counts the events put.

    Returns:
        For each event: `put`; `open` when it is open already; `waiting` when it is not settled yet; `gone` when its
        dead letter is gone. None when the batch has no room; then nothing was changed.

    Raises:
        UnknownName: no such handler is registered.
        ChangeRefused: another process moved the progress in the meantime.
        LettersUnread: nothing was changed, since there is a letter after `letters_read`.
    """
    now, then = progress or ("", "")
    arguments: list[str | int | bytes] = [log.prefix, handler, lane, room, now, then, letters_read, act]
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
