"""The payload fuzzer: signed bodies with one odd value, through the real endpoint into a real log, and read back.

One round is a batch. Only Redis is shared with the rest of this machine: it is an embedded one of the fuzzer's own.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from ampeco.signature import SigningKey, sign
from eventlog.clock import now_ms
from eventlog.connection.connect import connect
from eventlog.connection.embedded import EmbeddedServer
from eventlog.inspection.events import stored_event
from eventlog.log import Answer, AppendReply, Element, EventLog, NewEvent, Unreadable
from eventlog.operation.quarantine import quarantined
from eventlog.record import StoredEvent
from receiver.endpoint import Reply, WebhookEndpoint
from receiver.endpoint_log import EndpointLog
from receiver.group_commit import GroupCommit
from receiver.intake import Intake
from receiver.metrics import Metrics
from receiver.request_body import Limits
from receiver.verification import Verifier
from tests.fuzz.figures import Figures
from tests.fuzz.odd_bodies import odd_body
from tests.fuzz.reading_back import explain_it, read_as_worker, show

BATCH = 64
EXPLAINED_OF_A_BATCH = 2
WARM_ROUNDS = 40

_FLUSHED_EVERY = 50  # batches, so that Redis stays small
_KEY = SigningKey.of("fuzz-signing-key")


class PayloadFuzzer:
    """Sends batches and reads them back."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self.figures = Figures("payload")

    def run(self, more: Callable[[], bool], first: int = 0) -> Figures:
        """Run batches, beginning with a given number, while `more` returns true."""
        with (
            tempfile.TemporaryDirectory(prefix="awr-fuzz-") as folder,
            EmbeddedServer(Path(folder)) as server,
        ):
            asyncio.run(self._run(server.url, more, first))
        return self.figures

    async def _run(self, url: str, more: Callable[[], bool], first: int) -> None:
        async with connect(url) as client:
            self._log = EventLog(client, prefix="fuzz:", lanes=4)
            counted = EndpointLog(Metrics(), lambda queues: None)
            self._commit = GroupCommit(self._append, counted)
            self._endpoint = WebhookEndpoint(
                Verifier([_KEY]),
                Intake(self._commit),
                counted,
                accept_status=202,
                now_ms=now_ms,
                limits=Limits(),
            )
            number = first
            while more():
                await self.round(number)
                number += 1
                if number % _FLUSHED_EVERY == 0:
                    await client.flushdb()
                if number - first == WARM_ROUNDS:
                    self.figures.warm()
            self.figures.end()

    async def _append(self, elements: Sequence[Element]) -> AppendReply:
        reply = await self._log.append(elements)
        self._appended += zip(elements, reply.answers, strict=True)
        return reply

    async def round(self, number: int) -> None:
        """Send a batch, wait for its answers, and read back what was accepted."""
        figures, self._appended = self.figures, list[tuple[Element, Answer]]()
        figures.rounds += 1
        numbers = range(number * BATCH, (number + 1) * BATCH)
        sent = [odd_body(self._seed, each) for each in numbers]
        for body, reply in zip(sent, await self._answers(sent), strict=True):
            figures.requests += 1
            figures.outcomes[str(reply.status)] += 1
            if reply.status != 202:
                figures.found(number, f"answered {reply.status}", body)
        if self._commit.waiting_bytes or len(self._appended) != len(sent):
            figures.found(number, "something was left in the group commit", b"")
        stored = await self._stored()
        for place, (element, answer) in enumerate(self._appended):
            figures.outcomes[answer.outcome] += 1
            explained = place < EXPLAINED_OF_A_BATCH
            try:
                if not isinstance(element, NewEvent):
                    await self._read_quarantined(element, answer.event_id or "", explained=explained)
                elif answer.event_id is not None:
                    await self._read_event(element, stored[answer.event_id], explained=explained)
            except Exception as error:
                figures.found(
                    number, f"reading back: {type(error).__name__}: {str(error)[:300]}", element.body
                )

    async def _stored(self) -> dict[str, StoredEvent]:
        """Read the accepted events of the batch, in one round trip."""
        places = [
            answer.event_id.split("-", 1)
            for _, answer in self._appended
            if answer.outcome == "accepted" and answer.event_id
        ]
        async with self._log.redis.pipeline(transaction=False) as asked:
            for lane, stream_id in places:
                asked.xrange(self._log.key("events", lane), stream_id, stream_id)
            found = [
                stored_event(int(lane), *page[0])
                for (lane, _), page in zip(places, await asked.execute(), strict=True)
            ]
        return {event.event_id: event for event in found}

    async def _answers(self, bodies: Sequence[bytes]) -> list[Reply]:
        loop = asyncio.get_running_loop()
        answers: list[asyncio.Future[Reply]] = [loop.create_future() for _ in bodies]
        for body, answer in zip(bodies, answers, strict=True):
            self._endpoint.take(body, sign(body, _KEY).encode(), (), answer.set_result)
        async with asyncio.timeout(60):
            return await asyncio.gather(*answers)

    async def _read_quarantined(self, element: Unreadable, entry_id: str, *, explained: bool) -> None:
        assert element.reason != "parser-failed", "our parser failed"
        self.figures.outcomes[f"quarantined: {element.reason}"] += 1
        if explained:
            found = await quarantined(self._log, entry_id)
            assert found is not None, "it is not in the quarantine"
            assert (found.body, found.reason) == (element.body, element.reason)
            await explain_it(self._log, entry_id)

    async def _read_event(self, element: NewEvent, stored: StoredEvent, *, explained: bool) -> None:
        assert (stored.body, stored.type, stored.key) == (element.body, element.type, element.key)
        self.figures.outcomes.update(read_as_worker(stored))
        show(stored)
        if explained:
            await explain_it(self._log, stored.event_id)
            if stored.key is not None:
                await explain_it(self._log, stored.key)
