"""Sends signed notifications as AMPECO would, numbered per entity, and remembers which of them got a 2xx.

The next one of an entity goes out when the answer to the one before is known: accepted, or (for impatient entities)
given up after a failure, which does not mean that it did not arrive. Some that were accepted are sent once more.
"""

from __future__ import annotations

import http.client
import json
import random
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from ampeco.signature import SIGNATURE_HEADER, SigningKey, sign
from tests.chaos.roles import BOTH
from tests.chaos.story import Sent
from tests.door import PATH, TOKEN

_TIMEOUT_S = 5.0
_NO_ROOM = 503  # or no Redis
_AGAIN_S = 0.2
_FIRST_AT = datetime(2026, 1, 1, tzinfo=UTC)
_THREADS = 4
_IMPATIENT_EVERY = 10
_REPEATED_SHARE = 0.05


class Sender:
    """Several entities at once, from threads of its own.

    Attributes:
        unanswered, refused: deliveries without a 2xx; answers 503.

    Args:
        ports: those on which a receiver is open, or was a moment ago.
        rate: notifications per second, all together.
    """

    def __init__(self, ports: Callable[[], Sequence[int]], *, entities: int, rate: float, seed: int) -> None:
        self._ports = ports
        self._key = SigningKey.of(TOKEN)
        self._pause_s = _THREADS / rate
        self._stopping = threading.Event()
        self._sent: list[list[Sent]] = [[] for _ in range(_THREADS)]
        self._threads = [
            threading.Thread(
                target=self._run,
                args=(
                    self._sent[i],
                    random.Random(f"{seed}-{i}"),
                    [f"{n}" for n in range(i + 1, entities + 1, _THREADS)],
                ),
                daemon=True,
            )
            for i in range(_THREADS)
        ]
        self.unanswered = 0
        self.refused = 0

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> list[Sent]:
        """Make no new ones; what was sent, each entity in its order."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()
        return [one for sent in self._sent for one in sent]

    def _run(self, sent: list[Sent], chance: random.Random, entities: list[str]) -> None:
        numbers = dict.fromkeys(entities, 0)
        while not self._stopping.wait(self._pause_s * 2 * chance.random()):
            entity = chance.choice(entities)
            n = numbers[entity] = numbers[entity] + 1
            type_ = chance.choice(BOTH)
            body = _body(type_, entity, n)
            began_s = time.monotonic()
            accepted_s = self._deliver(body, chance, insists=int(entity) % _IMPATIENT_EVERY > 0)
            sent.append(Sent(f"session:{entity}", n, type_, began_s, accepted_s))
            if accepted_s is not None and chance.random() < _REPEATED_SHARE:
                self._post(body, chance)

    def _deliver(self, body: bytes, chance: random.Random, *, insists: bool) -> float | None:
        """When it was accepted; None when it was given up."""
        while not self._post(body, chance):
            self.unanswered += 1
            if not insists or self._stopping.wait(_AGAIN_S):
                return None
        return time.monotonic()

    def _post(self, body: bytes, chance: random.Random) -> bool:
        ports = self._ports()
        if not ports:
            return False
        connection = http.client.HTTPConnection("127.0.0.1", chance.choice(ports), timeout=_TIMEOUT_S)
        try:
            headers = {"content-type": "application/json", SIGNATURE_HEADER: sign(body, self._key)}
            connection.request("POST", PATH, body, headers)
            status = connection.getresponse().status
            self.refused += status == _NO_ROOM
            return 200 <= status < 300
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


def _body(type_: str, entity: str, n: int) -> bytes:
    """Its own time tells equal bodies from different events, and which one is the newest."""
    changed_at = (_FIRST_AT + timedelta(seconds=n)).isoformat()
    session = {"id": entity, "status": "active", "lastUpdatedAt": changed_at}
    return json.dumps({"notification": type_, "n": n, "session": session}).encode()
