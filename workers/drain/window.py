"""The events of one drain: which may start, and which waits for which.

Pure: it neither reads nor writes Redis, and is given the time. The window, with its cursor and its retries, is the
only writer of an entry's state. The drain admits events, the runner starts what is `ready`, and the next step writes
what changed at the cursor.

An event is *ready* when it may start at once. One that Redis holds in `open` is first *marked* there as running,
since a crash must find it suspect. One that may have been at work when a worker died is a *suspect* and runs alone.
Events with the same tie (`entry.py`) queue up: the first may run, and makes way only when Redis has its outcome
(`confirm`). With `order="latest"` only the newest of a queue is kept; the others become `superseded`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable

from eventlog.record import OpenRecord, OpenState, StoredEvent
from handlers.declaration import Order
from workers.delivery.handler_key import HandlerKey
from workers.drain.cursor import Cursor
from workers.drain.entry import Entry, newest_of, tie_of
from workers.drain.retries import Retries


class Window:
    """The events between the cursor and what was read last, and those that are open.

    Attributes:
        cursor: how far the drain has come.
        retries: wait for their next attempt.
        ready: may start now.
        to_mark: may start once Redis holds them as running.
        suspects: run one at a time, before anything else.
        running: at work.
        superseded: not wanted any more because of a newer one; the settlement takes them.
        unconfirmed: settled, but Redis does not know yet; the drain takes them and gives them to `confirm`.

    Args:
        key_of: makes the handler's own key of an event; None where it has none. It raises nothing.
    """

    def __init__(
        self, order: Order, cur: str = "", key_of: Callable[[StoredEvent], HandlerKey] | None = None
    ) -> None:
        self.cursor = Cursor(cur)
        self.ready: deque[Entry] = deque()
        self.to_mark: list[Entry] = []
        self.suspects: deque[Entry] = deque()
        self.running: set[Entry] = set()
        self.superseded: list[Entry] = []
        self.unconfirmed: list[Entry] = []
        self._order: Order = order
        self._key_of = key_of
        self._queues: dict[str, deque[Entry]] = {}
        self.retries = Retries()
        self._recalled: dict[str, Entry] = {}

    # Taking up what another drain left

    def tie_entities(self) -> None:
        """Tie all events of an entity in order, and ask for no key: asking may kill the process."""
        self._key_of = None
        if self._order == "latest":
            self._order = "entity"  # one of another key must not be superseded

    def recall(self, record: OpenRecord, own: HandlerKey | None = None) -> None:
        """Add an event that is open.

        Args:
            own: its key, where that must not be asked for any more; the event is due then.
        """
        entry = self._entry(record.event, own)
        entry.take_up(record)
        if own is not None:
            entry.due_ms = 0
        self.cursor.found_open(entry, record.state)
        self._recalled[record.event.stream_id] = entry

    def reread(self, event: StoredEvent, *, settled: bool) -> None:
        """Add an event after the cursor that was handed out before; it may be open too."""
        entry = self._recalled.get(event.stream_id)
        if entry is None:
            entry = self._recalled[event.stream_id] = self._entry(event)
        if settled:
            entry.ahead = True
            if not entry.in_open:  # else it was put there again after it was settled
                entry.state = "settled"
        self.cursor.add(entry)

    def arrange(self, handed_out: tuple[int, int]) -> None:
        """Put the added events into their order, once all are known.

        Args:
            handed_out: up to here events may have been at work when a worker died.
        """
        entries = sorted(self._recalled.values(), key=lambda entry: entry.order)
        self._recalled = {}
        alive = [entry for entry in entries if entry.state != "settled"]
        holding_back: set[str] = set()
        for entry in alive:
            self._enqueue(entry)
            if entry.was == "retry":
                self.retries.wait(entry, entry.due_ms or 0)
            else:
                started = entry.order <= handed_out and entry.tie not in holding_back
                entry.suspect = entry.was == "running" or (entry.was is None and started)
            # What waited behind it cannot have started. A replayed one was put in front of what may have.
            replayed = entry.replayed or entry.was == "replay"
            if self._order == "entity" and entry.tie is not None and not replayed:
                holding_back.add(entry.tie)
        if self._order == "latest":
            for queue in self._queues.values():
                self._keep_newest(queue)
        for entry in alive:
            if entry.state == "waiting":
                self._place(entry)

    # On the way

    def admit(self, event: StoredEvent) -> Entry:
        """Add a new event."""
        entry = self._entry(event)
        self.cursor.add(entry)
        self._enqueue(entry)
        if self._order == "latest" and entry.tie is not None:
            self._keep_newest(self._queues[entry.tie])
        if entry.state == "waiting":
            self._place(entry)
        return entry

    def hurry(self, stream_ids: Collection[str]) -> None:
        """End the waits of these events, where they still wait."""
        self.retries.hurry(stream_ids)
        for stream_id in self._recalled.keys() & stream_ids:
            self._recalled[stream_id].due_ms = 0

    def start_due(self, now_ms: int) -> None:
        """Make retries ready whose time has come."""
        for entry in self.retries.shortened(now_ms):
            self.cursor.put(entry, "retry")
        for entry in self.retries.due(now_ms):
            entry.state = "waiting"  # behind an earlier event, if one was put there again
            if self.is_first(entry):
                self._make_ready(entry)

    def is_first(self, entry: Entry) -> bool:
        """Return whether no event with the same tie comes before it."""
        return entry.tie is None or self._queues[entry.tie][0] is entry

    def mark(self) -> list[Entry]:
        """Write the waiting marks; the entries go back to `marked` when Redis has them."""
        marks, self.to_mark = self.to_mark, []
        for entry in marks:
            self.cursor.put(entry, "running")
        return marks

    def marked(self, entries: Iterable[Entry]) -> None:
        """Make entries ready that Redis holds as running. The runner starts suspects itself."""
        self.ready.extend(entry for entry in entries if not entry.suspect)

    def begin(self, entry: Entry, now_ms: int) -> None:
        """Note that an attempt of the entry begins."""
        entry.state = "running"
        entry.first_ms = min(entry.first_ms or now_ms, now_ms)  # in the future only if a clock went back
        if entry.failed_ms > now_ms:
            entry.failed_ms = now_ms
        self.running.add(entry)

    def retry(self, entry: Entry, due_ms: int, wait_ms: int | None = None, *, parks: bool = True) -> None:
        """Let the entry run again later; events with the same tie wait.

        Args:
            wait_ms: how long that is from now.
            parks: put what waits into `open`, so that the cursor can go on.
        """
        entry.crashes = 0  # it ran to an end and no worker died
        entry.wait_ms = wait_ms
        self.retries.wait(entry, due_ms)
        self.cursor.put(entry, "retry")
        if entry.tie is None:
            return
        queue = self._queues[entry.tie]
        if self._order == "latest":
            self._keep_newest(queue)
            return
        for later in queue if parks else ():
            if not later.in_open:
                self.park(later)

    def settle(self, entry: Entry) -> bool:
        """Close the entry for good; return True when another event waits until Redis has its outcome."""
        self.cursor.close(entry)
        if entry.tie is None:
            return False
        self.unconfirmed.append(entry)
        return len(self._queues[entry.tie]) > 1

    def confirm(self, entries: Iterable[Entry]) -> None:
        """Note that Redis has the outcomes of these; the next of their queues may start."""
        for entry in entries:
            assert entry.tie is not None  # noqa: S101
            queue = self._queues[entry.tie]
            queue.remove(entry)
            if not queue:
                del self._queues[entry.tie]
            elif queue[0].state == "waiting" and not queue[0].suspect:
                self._make_ready(queue[0])

    def blocks_none(self) -> bool:
        """Return whether no event waits for an outcome that Redis does not have yet."""
        return all(len(self._queues[entry.tie or ""]) == 1 for entry in self.unconfirmed)

    # Leaving

    def park(self, entry: Entry) -> None:
        """Leave the entry in `open` to wait. It has not started, so it is no longer a suspect."""
        entry.suspect = False
        self.cursor.put(entry, "parked")

    def hand_back(self, entry: Entry) -> None:
        """Leave an entry that was stopped in `open` to wait; its start does not count as a crash."""
        entry.crashes -= entry.suspect
        self.park(entry)

    def keep_suspects(self) -> None:
        """Leave suspects that did not run in `open`, so that the next drain suspects them too."""
        for entry in self.suspects:
            if entry.suspect:
                self.cursor.put(entry, "running")

    def pass_unfinished(self, *, stopping: bool) -> None:
        """Open what is unfinished, so that the cursor can pass it."""

        def state_of(entry: Entry) -> OpenState:
            at_work = entry.state in ("ready", "running") and not (stopping and entry not in self.running)
            return "running" if at_work or entry.suspect else "parked"

        self.cursor.pass_unfinished(state_of)

    # Parts of these

    def _entry(self, event: StoredEvent, own: HandlerKey | None = None) -> Entry:
        if own is None and self._key_of is not None:
            own = self._key_of(event)
        return Entry(event, tie_of(self._order, event, own), own=own)

    def _enqueue(self, entry: Entry) -> None:
        if entry.tie is not None:
            self._queues.setdefault(entry.tie, deque()).append(entry)

    def _place(self, entry: Entry) -> None:
        first = self.is_first(entry)
        if not first and not entry.in_open and self._queues[entry.tie or ""][0].state == "retry":
            self.park(entry)
        elif entry.suspect:
            self.suspects.append(entry)
        elif first:
            self._make_ready(entry)

    def _make_ready(self, entry: Entry) -> None:
        entry.state = "ready"
        if entry.in_open:
            self.to_mark.append(entry)  # Redis must know that it runs before it does
        else:
            self.ready.append(entry)

    def _keep_newest(self, queue: deque[Entry]) -> None:
        """Supersede all entries that have not started, apart from the newest; it takes over the wait for a retry."""
        if len(queue) == 1:
            return
        newest = newest_of(queue)
        older = [e for e in queue if e is not newest and e.state in ("waiting", "retry")]
        waits = [e for e in older if e.state == "retry"]
        last = max(waits, key=lambda e: e.due_ms or 0, default=None)
        for entry in older:
            queue.remove(entry)
            entry.suspect = False
            self.cursor.close(entry)
            self.superseded.append(entry)
        started = newest.suspect and newest.was == "running"
        if last is not None and newest.state == "waiting" and not started:
            newest.suspect = False
            newest.wait_ms = last.wait_ms
            self.retries.wait(newest, last.due_ms or 0)
            self.cursor.put(newest, "retry")
