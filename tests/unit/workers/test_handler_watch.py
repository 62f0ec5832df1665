"""While a service is away, its handler's attempts wait for a moment, or as long as the handler asks."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from eventlog.outages import AMPECO
from handlers import Backoff
from workers.delivery.outcomes import Outcome
from workers.drain.handler_watch import HandlerWatch


class Away:
    """A process that knows that each service is away."""

    now_ms = 0
    counts_failures = True

    def is_away(self, _: str) -> bool:
        return True

    def hold(self, _: str) -> None:
        pass

    async def until_noted(self) -> None:
        pass


@pytest.mark.parametrize(
    ("outcome", "least_s", "most_s"),
    [
        (Outcome("retry", "error", delay_s=1_800.0), 0.5, 1.0),
        (Outcome("retry", "retry-asked", delay_s=3_600.0, asked_s=3_600.0), 3_600.0, 3_600.0),
        # `not_yet_for_s` ends before the pause does.
        (Outcome("retry", "not-yet", delay_s=900.0, asked_s=3_600.0, counts=False), 900.0, 900.0),
    ],
)
def test_only_a_pause_that_was_asked_for_outlasts_the_outage(
    outcome: Outcome, least_s: float, most_s: float
) -> None:
    watch = HandlerWatch(cast("Any", Away()), "h", Backoff())
    watch.seen(5_000, AMPECO)
    held = asyncio.run(watch.judged(AMPECO, outcome, refused=False))
    assert (held.counts, held.held) == (False, True)
    assert least_s <= held.delay_s <= most_s
