"""How long attempts go on, with a real worker: after each kind of end, a long wait, and a retry by hand."""

from __future__ import annotations

import asyncio
import time

from ampeco.notifications import SessionUpdate
from eventlog.operation.dead_letters import DeadFilter, matching, retry
from handlers import Backoff, Context, Event, Retry, handler
from handlers.testing import event_of
from handlers.testing.fixtures import working
from workers.delivery import outcomes

SOON = Backoff(base_s=0.1, cap_s=0.3)
EVENT = event_of(SessionUpdate, session={"id": "1", "status": "active"})


def test_an_attempt_that_is_cut_off_is_given_up_as_others_are(valkey):
    @handler("acme.cancels", give_up_after_s=1, backoff=SOON)
    async def cancels(event: Event[SessionUpdate], ctx: Context) -> None:
        asyncio.current_task().cancel()  # type: ignore[union-attr]
        await asyncio.sleep(0)

    with working(valkey.url) as worker:
        worker.start(cancels)
        [event_id] = worker.send(EVENT)
        assert worker.outcome(event_id, cancels, within_s=30).slug == "retried-too-long"


def test_a_failure_after_a_long_wait_is_tried_again(valkey):
    began_s, failed_s = time.monotonic(), []

    @handler("acme.early", give_up_after_s=1, backoff=SOON)
    async def early(event: Event[SessionUpdate], ctx: Context) -> None:
        if time.monotonic() - began_s < 2:
            raise Retry("too early", after_s=0.2, counts=False)
        failed_s.append(time.monotonic())
        raise OSError

    with working(valkey.url) as worker:
        worker.start(early)
        [event_id] = worker.send(EVENT)
        assert worker.outcome(event_id, early, within_s=30).slug == "retried-too-long"
    assert failed_s[-1] - failed_s[0] > 0.9, "its second is over"


def test_a_dead_letter_of_the_code_that_is_retried_gets_all_its_time_again(valkey, monkeypatch):
    monkeypatch.setattr(outcomes, "CODE_ERRORS_FOR_S", 1.0)
    tried: list[int] = []

    @handler("acme.code", backoff=SOON)
    async def fails(event: Event[SessionUpdate], ctx: Context) -> None:
        tried.append(ctx.attempt)
        raise KeyError

    with working(valkey.url) as worker:
        worker.start(fails)
        [event_id] = worker.send(EVENT)
        assert worker.outcome(event_id, fails, within_s=30).slug == "code-error"
        first = len(tried)

        async def again() -> None:
            await retry(worker._log, await matching(worker._log, DeadFilter(handler="acme.code")))

        worker._call(again())
        assert worker.outcome(event_id, fails, within_s=30).slug == "code-error"
    assert len(tried) - first > 1
