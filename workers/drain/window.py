"""What lies before one drain: which event may start, which waits for which, and how far the cursor has come.

Pure: it neither reads nor writes Redis, and is given the time. It is the one writer of an entry's state. The drain
admits events, the runner starts what is `ready`, and the next step writes what `changes` returns.

An event is *ready* when it may start at once. One that Redis holds in `open` is first *marked* there as running,
since a crash must find it suspect. One that may have been at work when a worker died is a *suspect* and runs alone.
Events with the same tie (`entry.py`) queue up: the first may run, and makes way only when Redis has its outcome
(`confirm`). With `order="latest"` only the newest of a queue is kept; the others become `superseded`.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Collection, Iterable

from eventlog.lease import Settlement
from eventlog.record import KEPT_ATTEMPTS, AttemptNote, OpenRecord, OpenState, StoredEvent
from handlers.declaration import Order
from handlers.outcomes import LONGEST_WAIT_S
from workers.delivery.handler_key import HandlerKey
from workers.drain.entry import Entry, newest_of, tie_of

_LONGEST_WAIT_MS = int(LONGEST_WAIT_S * 1000)


class Window:
    """The events between the cursor and what was read last, and those that are open.

    Attributes:
        cur, pos: settled or open up to here; read up to here.
        ready: may start now.
        to_mark: may start once Redis holds them as running.
        suspects: run one at a time, before anything else.
        running: at work.
        superseded: not wanted any more because of a newer one; the settlement takes them.
        unconfirmed: settled, but Redis does not know yet; the drain takes them and gives them to `confirm`.
        open_count: how many are in `open`.

    Args:
        key_of: makes the handler's own key of an event; None where it has none. It raises nothing.
    """

    def __init__(
        self, order: Order, cur: str = "", key_of: Callable[[StoredEvent], HandlerKey] | None = None
    ) -> None:
        self.cur = self.pos = cur
        self.ready: deque[Entry] = deque()
        self.to_mark: list[Entry] = []
        self.suspects: deque[Entry] = deque()
        self.running: set[Entry] = set()
        self.superseded: list[Entry] = []
        self.unconfirmed: list[Entry] = []
        self.open_count = 0
        self._order: Order = order
        self._key_of = key_of
        self._entries: deque[Entry] = deque()
        self._passable = 0  # of them; so that no step has to look at all of a window that holds none
        self._closed: list[Entry] = []  # since the last changes
        self._queues: dict[str, deque[Entry]] = {}
        self._retries: list[tuple[int, tuple[int, int], Entry]] = []
        self._now_ms: float = float("inf")
        self._recalled: dict[str, Entry] = {}
        self._puts: dict[str, OpenRecord] = {}
        self._dels: list[str] = []
        self._passed: list[str] = []
        self._wanted_passed = 0  # since the last changes
        self._opened: list[tuple[tuple[int, int], Entry]] = []  # a heap; settled ones leave it late

    def __len__(self) -> int:
        """How many events lie between the cursor and what was read."""
        return len(self._entries)

    # Taking up what another drain left

    def tie_entities(self) -> None:
        """Tie all events of an entity in order, and ask for no key: one of them may kill the process that asks."""
        self._key_of = None
        if self._order == "latest":
            self._order = "entity"  # one of another key must not be superseded

    def recall(self, record: OpenRecord, own: HandlerKey | None = None) -> None:
        """An event that is open.

        Args:
            own: its key, where that must not be asked for any more; the event is due then.
        """
        entry = self._entry(record.event, own)
        entry.attempts, entry.crashes = record.attempts, record.crashes
        entry.first_ms, entry.last_error = record.first_ms, record.last_error
        entry.replayed, entry.log = record.replayed, record.log
        entry.was, entry.wait_ms = record.state, record.wait_ms
        entry.due_ms = record.due_ms if own is None else 0
        entry.in_open = True
        self.open_count += 1
        heapq.heappush(self._opened, (entry.order, entry))
        self._recalled[record.event.stream_id] = entry

    def reread(self, event: StoredEvent, *, settled: bool) -> None:
        """An event after the cursor that was handed out before; it may be open, too."""
        entry = self._recalled.get(event.stream_id)
        if entry is None:
            entry = self._recalled[event.stream_id] = self._entry(event)
        if settled:
            entry.ahead = True
            if not entry.in_open:  # else it was put there again after it was settled
                entry.state = "settled"
        self._append(entry)
        self._passable += self._is_passable(entry)

    def arrange(self, handed_out: tuple[int, int]) -> None:
        """Put all of them into their order, once each is known.

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
                self._wait_until(entry, entry.due_ms or 0)
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
        """A new event."""
        entry = self._entry(event)
        self._append(entry)
        self._enqueue(entry)
        if self._order == "latest" and entry.tie is not None:
            self._keep_newest(self._queues[entry.tie])
        if entry.state == "waiting":
            self._place(entry)
        return entry

    def hurry(self, stream_ids: Collection[str]) -> None:
        """The waits of these were ended from outside, where they still wait."""
        for entry in [entry for _, _, entry in self._retries if entry.event.stream_id in stream_ids]:
            if entry.state == "retry":
                self._wait_until(entry, 0)
        for stream_id in self._recalled.keys() & stream_ids:
            self._recalled[stream_id].due_ms = 0

    def start_due(self, now_ms: int) -> None:
        """Retries whose time has come are ready.

        No clock that changed, and none of another machine, makes a wait longer than it was to be.
        """
        if now_ms < self._now_ms:
            self._bound_waits(now_ms)
        self._now_ms = now_ms
        while self._retries and self._retries[0][0] <= now_ms:
            due_ms, _, entry = heapq.heappop(self._retries)
            if entry.state != "retry" or entry.due_ms != due_ms:
                continue  # superseded or hurried meanwhile
            entry.state = "waiting"  # behind an earlier event, if one was put there again
            if self.is_first(entry):
                self._make_ready(entry)

    def next_due_ms(self) -> int | None:
        """When the next retry is due."""
        return self._retries[0][0] if self._retries else None

    def is_first(self, entry: Entry) -> bool:
        """Whether nothing that it is tied to comes before it."""
        return entry.tie is None or self._queues[entry.tie][0] is entry

    def mark(self) -> list[Entry]:
        """Write the waiting marks; the entries go back to `marked` when Redis has them."""
        marks, self.to_mark = self.to_mark, []
        for entry in marks:
            self._put(entry, "running")
        return marks

    def marked(self, entries: Iterable[Entry]) -> None:
        """Redis holds them as running. The runner starts a suspect itself."""
        self.ready.extend(entry for entry in entries if not entry.suspect)

    def begin(self, entry: Entry, now_ms: int) -> None:
        """An attempt of it begins."""
        entry.state = "running"
        entry.first_ms = min(entry.first_ms or now_ms, now_ms)  # in the future only if a clock went back
        self.running.add(entry)

    def count_crash(self, entry: Entry, note: AttemptNote) -> None:
        """A worker died of it, perhaps; the next mark says so in Redis."""
        entry.crashes += 1
        self.note(entry, note)

    def uncount_crash(self, entry: Entry, log: tuple[AttemptNote, ...]) -> None:
        """It was counted, but did not start after all. `log` is what it was before."""
        entry.crashes -= 1
        entry.log = log

    def note(self, entry: Entry, note: AttemptNote) -> None:
        """Remember an attempt, among the last of them."""
        entry.log = (*entry.log[1 - KEPT_ATTEMPTS :], note)

    def conclude(self, entry: Entry, error: str, *, spent: bool) -> None:
        """An attempt came to an end; then either `retry` or `settle` follows."""
        entry.last_error = error
        entry.suspect = False
        entry.attempts += spent

    def retry(self, entry: Entry, due_ms: int, wait_ms: int | None = None, *, parks: bool = True) -> None:
        """It runs again later, and what is tied to it waits.

        Args:
            wait_ms: how long that is from now.
            parks: put what waits into `open`, so that the cursor can go on.
        """
        entry.crashes = 0  # it ran to an end and no worker died
        entry.wait_ms = wait_ms
        self._wait_until(entry, due_ms)
        self._put(entry, "retry")
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
        """Close it for good; True when another event waits until Redis knows."""
        self._close(entry)
        if entry.tie is None:
            return False
        self.unconfirmed.append(entry)
        return len(self._queues[entry.tie]) > 1

    def confirm(self, entries: Iterable[Entry]) -> None:
        """Redis has the outcomes of these; the next of their queues may start."""
        for entry in entries:
            assert entry.tie is not None  # noqa: S101
            queue = self._queues[entry.tie]
            queue.remove(entry)
            if not queue:
                del self._queues[entry.tie]
            elif queue[0].state == "waiting" and not queue[0].suspect:
                self._make_ready(queue[0])

    def blocks_none(self) -> bool:
        """Whether no outcome that Redis does not know yet holds back another event."""
        return all(len(self._queues[entry.tie or ""]) == 1 for entry in self.unconfirmed)

    # Leaving

    def park(self, entry: Entry) -> None:
        """It waits in `open`. Nothing of it has started, so it is no suspect any more either."""
        entry.suspect = False
        self._put(entry, "parked")

    def hand_back(self, entry: Entry) -> None:
        """It was stopped politely: it waits in `open`, and this start does not count as a crash."""
        entry.crashes -= entry.suspect
        self.park(entry)

    def keep_suspects(self) -> None:
        """Suspects that did not run wait in `open`, and the next drain must suspect them too."""
        for entry in self.suspects:
            if entry.suspect:
                self._put(entry, "running")

    # The cursor

    def advance(self) -> None:
        """Move the cursor over all that is settled or open."""
        while self._passable and self._is_passable(self._entries[0]):
            entry = self._entries.popleft()
            entry.beyond = False
            self._passable -= 1
            self._wanted_passed += 1
            self.cur = entry.event.stream_id
            if entry.ahead:
                self._passed.append(entry.event.stream_id)
        if not self._entries:
            self.cur = self.pos

    def pass_unfinished(self, *, stopping: bool) -> None:
        """Open what is unfinished before the last that is settled or open, so that the cursor can pass it."""
        left = self._passable
        for entry in self._entries:
            if not left:
                return
            if self._is_passable(entry):
                left -= 1
                continue
            at_work = entry.state in ("ready", "running") and not (stopping and entry not in self.running)
            self._put(entry, "running" if at_work or entry.suspect else "parked")

    def changes(self) -> Settlement:
        """Move the cursor as far as it goes, and return what Redis does not know yet."""
        self.advance()
        passed, self._passed = self._passed, []
        ahead = []
        for entry in self._closed:
            if entry.beyond and not entry.ahead:
                entry.ahead = True
                ahead.append(entry.event.stream_id)
        self._closed = []
        puts, dels = list(self._puts.values()), self._dels
        self._puts, self._dels = {}, []
        wanted_passed, self._wanted_passed = self._wanted_passed, 0
        return Settlement(
            self.cur,
            puts,
            dels,
            ahead=ahead,
            passed=passed,
            wanted_passed=wanted_passed,
            beyond=self._passable,
            oldest=self._oldest(),
        )

    def _oldest(self) -> str | None:
        """Id of the oldest event that is not settled. The first after the cursor is neither settled nor open."""
        while self._opened and self._opened[0][1].state == "settled":
            heapq.heappop(self._opened)
        first = self._entries[0] if self._entries else None
        if self._opened and (first is None or self._opened[0][0] < first.order):
            first = self._opened[0][1]
        return first.event.stream_id if first is not None else None

    # Parts of these

    def _entry(self, event: StoredEvent, own: HandlerKey | None = None) -> Entry:
        if own is None and self._key_of is not None:
            own = self._key_of(event)
        return Entry(event, tie_of(self._order, event, own), own=own)

    def _append(self, entry: Entry) -> None:
        entry.beyond = True
        self._entries.append(entry)

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

    def _wait_until(self, entry: Entry, due_ms: int) -> None:
        entry.state, entry.due_ms = "retry", due_ms
        heapq.heappush(self._retries, (due_ms, entry.order, entry))

    def _bound_waits(self, now_ms: int) -> None:
        for entry in [entry for _, _, entry in self._retries if entry.state == "retry"]:
            latest_ms = now_ms + (_LONGEST_WAIT_MS if entry.wait_ms is None else entry.wait_ms)
            if (entry.due_ms or 0) > latest_ms:
                self._wait_until(entry, latest_ms)
                self._put(entry, "retry")

    def _keep_newest(self, queue: deque[Entry]) -> None:
        """What has not started and is not the newest is superseded; if it waited for a retry, the newest does now."""
        if len(queue) == 1:
            return
        newest = newest_of(queue)
        older = [e for e in queue if e is not newest and e.state in ("waiting", "retry")]
        waits = [e for e in older if e.state == "retry"]
        last = max(waits, key=lambda e: e.due_ms or 0, default=None)
        for entry in older:
            queue.remove(entry)
            entry.suspect = False
            self._close(entry)
            self.superseded.append(entry)
        started = newest.suspect and newest.was == "running"
        if last is not None and newest.state == "waiting" and not started:
            newest.suspect = False
            newest.wait_ms = last.wait_ms
            self._wait_until(newest, last.due_ms or 0)
            self._put(newest, "retry")

    def _close(self, entry: Entry) -> None:
        entry.state = "settled"
        self._closed.append(entry)
        self._passable += entry.beyond and not entry.in_open
        if entry.in_open:
            self.open_count -= 1
            self._puts.pop(entry.event.stream_id, None)
            self._dels.append(entry.event.stream_id)

    def _put(self, entry: Entry, state: OpenState) -> None:
        if not entry.in_open:
            entry.in_open = True
            self.open_count += 1
            self._passable += entry.beyond
            heapq.heappush(self._opened, (entry.order, entry))
        self._puts[entry.event.stream_id] = entry.record(state)

    @staticmethod
    def _is_passable(entry: Entry) -> bool:
        return entry.state == "settled" or entry.in_open
