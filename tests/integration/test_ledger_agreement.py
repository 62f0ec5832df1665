"""The ledger of the test kit, in memory, answers what the ledger in Redis answers, story by story."""

from __future__ import annotations

import asyncio
import itertools
import random
from typing import Any

import pytest

from eventlog.lease import Lease
from eventlog.log import EventLog
from eventlog.step_ledger import Scope, StepLedger
from handlers import Context, Event, Raw, handler
from handlers.testing.clock import Clock
from handlers.testing.ledger import MemoryLedger
from tests.harness import declaration, opened

HOLD_S = 30.0


@handler("h", on=["*"])
async def h(event: Event[Raw], ctx: Context) -> None: ...


class Both:
    """One lease in Redis and its stand-in in memory, asked the same."""

    def __init__(self, log: EventLog, records: dict[Any, Any], clock: Clock) -> None:
        self._log, self._records, self._clock = log, records, clock
        self._numbers = itertools.count()

    async def take(self) -> None:
        """Begin an attempt of another holder."""
        await self._log.redis.delete(self._log.key("lease", "h", 0))
        lease = Lease(self._log, "h", 0, "default")
        assert await lease.take() is not None
        self.real = StepLedger(self._log, lease, hold_s=HOLD_S)
        self.kit = MemoryLedger(
            self._records, holder=str(next(self._numbers)), hold_s=HOLD_S, now_ms=self._clock.now_ms
        )

    async def ask(self, what: str, *words: Any, **how: Any) -> Any:
        real = await getattr(self.real, what)(*words, **how)
        kit = await getattr(self.kit, what)(*words, **how)
        if what == "begin":
            assert (kit.state, kit.result, kit.fault) == (real.state, real.result, real.fault), (
                what,
                words,
                how,
            )
            assert kit.wait_s == pytest.approx(real.wait_s, abs=1.5)
        else:
            assert kit == real, (what, words, how)
        return real


def test_random_stories_have_the_same_answers(log_url, prefix):
    async def story(seed: int) -> None:
        chance = random.Random(seed)
        async with opened(log_url, f"{prefix}{seed}:", lanes=1) as log:
            await log.declare([declaration(h)])
            both, clock = Both(log, {}, Clock()), Clock()
            both._clock = clock
            await both.take()
            scopes = (Scope("0-1-0"), Scope("session:1", lasting=True))
            for number in range(40):
                scope, step, nonce = chance.choice(scopes), chance.choice("ab"), chance.choice("123")
                match chance.choice(("begin", "begin", "begin", "finish", "doubt", "clear", "take")):
                    case "begin":
                        await both.ask("begin", scope, step, nonce, again=chance.random() < 0.3)
                    case "finish":
                        await both.ask("finish", scope, step, nonce, f"[{number}]", "")
                    case "take":
                        await both.take()
                    case what:
                        await both.ask(what, scope, step, nonce)

    for seed in range(8):
        asyncio.run(story(seed))
