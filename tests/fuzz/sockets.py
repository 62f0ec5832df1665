"""The smaller form of the HTTP fuzzer: a real receiver, real sockets, and some honest senders in between.

What cannot be known from outside is left to the form without sockets. Here the process must live, answer no 5xx but
503, and answer every honest sender with 202. Answers to streams of one whole request are compared with plain uvicorn.
"""

from __future__ import annotations

import contextlib
import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from random import Random

from eventlog.connection.embedded import EmbeddedServer
from tests.door import Door, door
from tests.fuzz.ends import BODY_LIMIT, End
from tests.fuzz.figures import Figures
from tests.fuzz.http_ways import STATUS
from tests.fuzz.stepped_loop import SteppedLoop
from tests.fuzz.streams import Stream, bytewise, honest, pieces, stream
from tests.fuzz.wanted import wanted_difference

HONEST_EVERY = 20
WARM_ROUNDS = 200

_QUIET_S = 0.05  # that end a reading; an answer that takes longer is not compared
_ANSWER_S = 60.0
_TRIES = 20  # of an honest sender that is answered 503, as a busy machine may do


class SocketFuzzer:
    """Sends streams to one receiver process."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self.figures = Figures("sockets")

    def run(self, more: Callable[[], bool], first: int = 0) -> Figures:
        """Run rounds, beginning with a given number, while `more` returns true."""
        environ = {"AWR_MAX_BODY_BYTES": str(BODY_LIMIT)}
        with (
            tempfile.TemporaryDirectory(prefix="awr-fuzz-") as folder,
            EmbeddedServer(Path(folder)) as server,
            closing(Expected()) as self._expected,
            door(server.url, "fuzz:", environ) as receiver,
        ):
            self._run(receiver, more, first)
        return self.figures

    def _run(self, receiver: Door, more: Callable[[], bool], first: int) -> None:
        number = first
        self._wait_until_ready(receiver)
        while more() and receiver.process.poll() is None:
            self.round(receiver, number)
            number += 1
            if number - first == WARM_ROUNDS:
                self.figures.warm(receiver.process.pid)
        if receiver.process.poll() is not None:
            self.figures.found(number, f"the receiver ended with {receiver.process.returncode}", b"")
        else:
            self.figures.end(receiver.process.pid)
            if said := receiver.said("event.failed") + receiver.said("event.unreadable"):
                self.figures.found(number, f"logged {said[:3]}", b"")

    def _wait_until_ready(self, receiver: Door) -> None:
        if self._honest(receiver, -1) != "202":
            self.figures.found(-1, "the receiver did not become ready", b"")

    def round(self, receiver: Door, number: int) -> None:
        """Send one stream over one connection, and an honest request now and then."""
        sent = stream(Random(f"{self._seed} {number}"))
        dice = Random(f"{self._seed} {number} sockets")
        cut = [sent.data] if dice.random() < 0.5 else pieces(sent.data, dice)
        self.figures.rounds += 1
        self.figures.requests += max(1, len(sent.parts))
        statuses = list(self._exchange(receiver, sent, cut))
        self.figures.outcomes.update(statuses or ["none"])
        for status in statuses:
            if status[0] == "5" and status != "503":
                self.figures.found(number, f"answered {status}", sent.data)
        if len(cut) == 1 and len(sent.parts) == 1 and statuses and "503" not in statuses:
            self._compare(number, sent, statuses)
        if number % HONEST_EVERY == 0:
            self.figures.requests += 1
            if (status := self._honest(receiver, number)) != "202":
                self.figures.found(number, f"answered an honest sender with {status or 'nothing'}", sent.data)

    def _compare(self, number: int, sent: Stream, statuses: list[str]) -> None:
        expected = [self._expected.statuses(parts) for parts in ([sent.data], bytewise(sent.data))]
        if all(statuses != each[: len(statuses)] for each in expected):
            name = wanted_difference(sent)
            if name is None:
                self.figures.found(number, f"answered {statuses}, plain uvicorn {expected}", sent.data)
            else:
                self.figures.allowed[name] += 1

    def _exchange(self, receiver: Door, sent: Stream, cut: list[bytes]) -> Iterator[str]:
        with receiver.connect() as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with contextlib.suppress(OSError):  # the receiver may refuse early, and close
                for piece in cut:
                    connection.sendall(piece)
                if sent.ends == "end":
                    connection.shutdown(socket.SHUT_WR)
            connection.settimeout(_QUIET_S)
            answered = b""
            with contextlib.suppress(OSError):
                while part := connection.recv(65_536):
                    answered += part
            yield from (found.decode() for found in STATUS.findall(answered))

    def _honest(self, receiver: Door, number: int) -> str:
        """Return the status that an honest sender gets, which tries again after a 503."""
        for _ in range(_TRIES):
            if (status := self._answer(receiver, number)) != "503":
                break
            time.sleep(0.2)
        return status

    def _answer(self, receiver: Door, number: int) -> str:
        with receiver.connect() as connection:
            connection.settimeout(_ANSWER_S)
            connection.sendall(honest(number))
            found = STATUS.search(connection.recv(65_536))
            return found[1].decode() if found else ""


class Expected:
    """What plain uvicorn answers to a stream."""

    def __init__(self) -> None:
        self._loop = SteppedLoop()
        with self._loop.active():
            self._end = End(self._loop, plain=True)

    def statuses(self, parts: Sequence[bytes]) -> list[str]:
        """Return the statuses; the sender waits for answers between the parts."""
        with self._loop.active():
            self._end.round = None
            connection = self._end.connect()
            for part in parts:
                connection.send(part)
                self._loop.settle()
            written = bytes(connection.written)
            connection.lose()
            self._loop.pass_time(300)
            return [found.decode() for found in STATUS.findall(written)]

    def close(self) -> None:
        """Close its loop."""
        self._loop.close()
