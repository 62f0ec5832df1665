"""Ends a process whose event loop is stuck past a lease, since another process may run the same events by then.

First a thread of its own reports where the loop stands, in one log line and in a note for the process that next
suspects the event. A handler that keeps the interpreter's lock (in a regular expression or an extension) stops that
thread too. Then faulthandler, which needs no lock, prints all stacks and ends the process half a second later.
"""

from __future__ import annotations

import faulthandler
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import FrameType

import structlog
from redis.exceptions import RedisError

from eventlog.blocked_notes import BlockedNote
from eventlog.lease import clock_s
from handlers.declaration import Handler
from workers.delivery.opening import handler_opened_in
from workers.delivery.stacks import MOST_LINES, file_of, line_in, lines_of, outwards
from workers.drain.attempts import attempt_in
from workers.drain.suspects import LOOP_BLOCKED

LAST_RESORT_S = 0.5  # for the thread, before faulthandler ends the process; the lease lives for a second

NoteWriter = Callable[[str, str, BlockedNote], None]

_LOOK_BEFORE_S = 0.6  # for the note to reach Redis
_SLICE_S = 0.25
_PAUSED_S = 1.0  # a slice that is this late was not a slice of a process that ran
_STDERR = 2

_log = structlog.get_logger()


@dataclass(frozen=True)
class Blocked:
    """Where an event loop is stuck.

    Attributes:
        handler, event_id, notification: empty where they are not known.
        where: the innermost line of the handler's own code.
        lines: innermost first.
    """

    handler: str
    event_id: str
    notification: str
    where: str
    lines: tuple[str, ...]

    @property
    def note(self) -> BlockedNote:
        """Return the note for the next process, with the innermost line last, as in other traces."""
        return BlockedNote(self.where, "\n".join([LOOP_BLOCKED, *reversed(self.lines)]))


class Watchdog:
    """Watches one event loop while it holds leases.

    Args:
        handlers: returns those of the process.
        write: stores a note about an event; None stores nothing.
    """

    def __init__(self, handlers: Callable[[], Iterable[Handler]], write: NoteWriter | None = None) -> None:
        self._handlers = handlers
        self._write = write
        self._at_s: float | None = None
        self._armed = threading.Event()
        self._loop_thread = 0
        self._thread: threading.Thread | None = None

    def arm(self, seconds: float | None) -> None:
        """End the process after this time, unless the watchdog is armed again before; None: do not end it.

        Call it in the event loop that is watched.
        """
        if seconds is None:
            self._at_s = None
            self._armed.clear()
            faulthandler.cancel_dump_traceback_later()
            return
        self._at_s = clock_s() + seconds
        self._loop_thread = threading.get_ident()
        faulthandler.dump_traceback_later(seconds + LAST_RESORT_S, exit=True, file=_STDERR)
        self._armed.set()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while True:
            self._armed.wait()
            at_s = self._at_s
            if at_s is None:
                continue
            left_s = at_s - clock_s() - _LOOK_BEFORE_S
            if left_s <= 0:
                self._look(at_s)
            elif self._slept(min(left_s, _SLICE_S)) and clock_s() > at_s:
                _log.critical("worker.paused_past_lease")
                os._exit(1)

    def _slept(self, seconds: float) -> bool:
        """Wait; return whether the whole process stood still meanwhile, rather than only this thread."""
        began_s, used_s = clock_s(), time.process_time()
        time.sleep(seconds)
        late_s = clock_s() - began_s - seconds
        return late_s > _PAUSED_S and time.process_time() - used_s < late_s / 2

    def _look(self, at_s: float) -> None:
        """Say where the loop is stuck, and end the process at the time given unless the loop goes on."""
        frame = sys._current_frames().get(self._loop_thread)  # noqa: SLF001 - there is no other way
        found = blocked_in(frame, self._handlers()) if frame is not None else None
        del frame
        if found is not None and found.event_id and self._write is not None:
            # In a thread of its own, so that the process ends in time also when Redis does not answer.
            threading.Thread(target=self._note, args=(found,), name="watchdog-note", daemon=True).start()
        time.sleep(max(0.0, at_s - clock_s()))
        if self._at_s != at_s:
            return  # the loop goes on; a note that was written is taken only if the worker dies of the event
        if found is None:
            _log.critical("worker.loop_blocked", handler="", event_id="", where="", lines=[])
        else:
            _log.critical(
                "worker.loop_blocked",
                handler=found.handler,
                event_id=found.event_id,
                notification=found.notification,
                where=found.where,
                lines=found.lines,
            )
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1)

    def _note(self, found: Blocked) -> None:
        assert self._write is not None  # noqa: S101
        try:
            self._write(found.handler, found.event_id, found.note)
        except (RedisError, OSError) as error:
            _log.warning("worker.note_lost", error=type(error).__name__)


def blocked_in(frame: FrameType, handlers: Iterable[Handler]) -> Blocked:
    """Say which handler and event hold up the loop whose innermost frame this is.

    A task that a handler started itself is known by its file alone, so its event is not known.
    """
    frames: list[FrameType] = []
    for each in outwards(frame):
        if (attempt := attempt_in(each)) is not None:
            handler, entry = attempt
            return _blocked(frames, handler, entry.event.event_id, entry.event.type)
        if (opened := handler_opened_in(each)) is not None:
            return _blocked(frames, opened, "", "")
        frames.append(each)
    files = {file_of(handler): handler for handler in handlers}
    guess = next((files[name] for each in frames if (name := each.f_code.co_filename) in files), None)
    return _blocked(frames, guess, "", "")


def _blocked(frames: list[FrameType], handler: Handler | None, event_id: str, notification: str) -> Blocked:
    lines = tuple(lines_of(frames)[:MOST_LINES])
    name = handler.name if handler is not None else ""
    return Blocked(name, event_id, notification, line_in(frames, handler), lines)
