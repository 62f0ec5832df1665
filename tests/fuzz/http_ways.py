"""The HTTP fuzzer: our protocol against plain uvicorn, over the same bytes in the same pieces.

One round is one stream, sent whole, in pieces, byte by byte, and in pieces without a pause between them. Both ends
must write the same answers, hand the same bodies to the endpoint, and close the connection or not.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from random import Random

from tests.fuzz.ends import Connection, End
from tests.fuzz.figures import Figures
from tests.fuzz.stepped_loop import SteppedLoop
from tests.fuzz.streams import Stream, bytewise, honest, pieces, stream
from tests.fuzz.wanted import IN_ORDER, ONE_ANSWER, wanted_difference

WARM_ROUNDS = 300

STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")
_BROKEN = b"HTTP/1.1 400 "
_MALFORMED = re.compile(rb"HTTP/1\.1 400 .*", re.DOTALL)
_ALL_TIMERS_S = 300.0
_TASKS_EVERY = 100
_SHORT = 600
_LONG_ONES = 0.3  # of the streams that are longer are sent byte by byte


@dataclass(frozen=True)
class Seen:
    """What one end did with one stream, and with an honest request after it.

    Attributes:
        taken: what was handed over to the endpoint.
        closed: whether the connection was closed after the stream.
        next: what was written for the honest request; empty where none was sent.
    """

    written: bytes
    taken: tuple[tuple[bytes, bytes | None], ...]
    closed: bool
    next: bytes

    @property
    def statuses(self) -> list[str]:
        return [found.decode() for found in STATUS.findall(self.written + self.next)]


class HttpFuzzer:
    """Compares the two ends, round by round."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._loop = SteppedLoop()
        self._crashes = _Crashes()
        self._held: list[str] = []
        self.figures = Figures("http")

    def run(self, more: Callable[[], bool], first: int = 0) -> Figures:
        """Run rounds, beginning with a given number, while `more` returns true."""
        logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
        logging.getLogger("uvicorn.error").addHandler(self._crashes)
        with self._loop.active():
            self._ours, self._plain = End(self._loop, plain=False), End(self._loop, plain=True)
            number = first
            while more():
                self.round(number)
                number += 1
                if number - first == WARM_ROUNDS:
                    self.figures.warm()
            self.figures.end()
        self._loop.close()
        logging.getLogger("uvicorn.error").removeHandler(self._crashes)
        return self.figures

    def round(self, number: int) -> None:
        """Send one stream in all ways to both ends, and compare."""
        sent = stream(Random(f"{self._seed} {number}"))
        self.figures.rounds += 1
        for way, parts, patient in _ways(sent, Random(f"{self._seed} {number} pieces")):
            ours = self._send(self._ours, sent, parts, number, patient=patient)
            plain = self._send(self._plain, sent, parts, number, patient=patient)
            if ours != plain:
                plain = self._in_order(sent, number, ours, plain)
            self.figures.requests += max(1, len(sent.parts)) + bool(ours.next)
            self.figures.outcomes.update(ours.statuses or ["none"])
            for what in self._faults(ours, plain):
                self.figures.found(number, f"{way}: {what}", sent.data)
            if ours != plain:
                name = wanted_difference(sent)
                if name is None:
                    self.figures.found(number, f"{way}: {_difference(ours, plain)}", sent.data)
                else:
                    self.figures.allowed[name] += 1

    def _in_order(self, sent: Stream, number: int, ours: Seen, plain: Seen) -> Seen:
        """Return what our end did, if uvicorn does the same where the sender waits for each answer.

        uvicorn parses what follows a request before its answer, and may refuse it first. Here answers keep the order.
        """
        waited = self._send(self._plain, sent, bytewise(sent.data), number, patient=True, drip=True)
        if waited == ours or _is_cut_short(ours, plain, waited):
            self.figures.allowed[IN_ORDER] += 1
        elif replace(ours, written=ours.written + _BROKEN) in (plain, waited) and ours.closed:
            self.figures.allowed[ONE_ANSWER] += 1
        else:
            return plain
        return ours

    def _send(
        self,
        end: End,
        sent: Stream,
        parts: Sequence[bytes],
        number: int,
        *,
        patient: bool,
        drip: bool = False,
    ) -> Seen:
        end.round = number
        end.endpoint.taken = taken = []
        connection = end.connect()
        for part in parts:
            connection.send(part)
            if patient:
                self._loop.settle()
        if sent.ends == "end" and not patient:
            connection.end()
        self._loop.settle()
        closed, written = connection.closed, bytes(connection.written)
        following = b""
        if not closed and len(written) and sent.ends == "idle":
            after = honest(number)
            for part in bytewise(after) if drip else [after]:
                connection.send(part)
                self._loop.settle()
            following = bytes(connection.written[len(written) :])
        if following:
            self._held += connection.held()
        self._finish(connection, sent.ends)
        return Seen(_without_text(written), tuple(taken), closed, _without_text(following))

    def _finish(self, connection: Connection, ends: str) -> None:
        if ends == "end":
            connection.end()
        elif ends == "lost":
            connection.lose()
        self._loop.pass_time(_ALL_TIMERS_S)
        if not connection.closed:  # a sender that sent nothing more, and does not end: uvicorn waits for ever
            connection.lose()
            self._loop.pass_time(_ALL_TIMERS_S)

    def _faults(self, ours: Seen, plain: Seen) -> Iterator[str]:
        """Yield what is a fault whether the ends differ or not."""
        for status in ours.statuses:
            if status[0] == "5" and status != "503":
                yield f"answered {status}"
        crashes, self._crashes.texts = self._crashes.texts, []
        yield from crashes
        faults, self._loop.faults = self._loop.faults, []
        yield from faults
        held, self._held = self._held, []
        yield from (f"an idle connection holds {what}" for what in held)
        for end, who in ((self._ours, "ours"), (self._plain, "uvicorn's")):
            yield from (f"{who} left {what}" for what in end.left_behind())
        if timers := self._loop.timers():
            yield f"left {len(timers)} timers"
        if self.figures.rounds % _TASKS_EVERY == 0 and (tasks := asyncio.all_tasks(self._loop)):
            yield f"left {len(tasks)} tasks"


def _ways(sent: Stream, dice: Random) -> Iterator[tuple[str, list[bytes], bool]]:
    """Yield a name, the pieces, and whether the sender waits for answers between them."""
    data = sent.data
    yield "whole", [data], True
    if len(sent.parts) > 1:
        yield "request by request", list(sent.parts), True
    cut = pieces(data, dice)
    yield "in pieces", cut, True
    yield "in pieces without a pause", cut, False
    if len(data) <= _SHORT or dice.random() < _LONG_ONES:
        yield "byte by byte", bytewise(data), True


def _is_cut_short(ours: Seen, plain: Seen, waited: Seen) -> bool:
    """Return whether our end answered as if the sender waited, until the request that uvicorn refused at once."""
    before = ours.written.removesuffix(_BROKEN)
    return (
        ours.written != before
        and plain.written.endswith(_BROKEN)
        and waited.written.startswith(before)
        and waited.taken[: len(ours.taken)] == ours.taken
    )


def _without_text(written: bytes) -> bytes:
    """Reduce an answer 400, which is always the last one, to its status: only uvicorn's has a text."""
    return _MALFORMED.sub(_BROKEN, written)


def _difference(ours: Seen, plain: Seen) -> str:
    if ours.written != plain.written:
        return f"wrote {ours.written!r}, uvicorn {plain.written!r}"
    if ours.taken != plain.taken:
        return f"handed over {ours.taken!r}, uvicorn {plain.taken!r}"
    if ours.closed != plain.closed:
        return f"closed: {ours.closed}, uvicorn: {plain.closed}"
    return f"answered the next request {ours.next!r}, uvicorn {plain.next!r}"


class _Crashes(logging.Handler):
    """Errors that uvicorn logs: exceptions of the application."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        self.texts.append(f"{record.getMessage().strip()}: {error!r}")
