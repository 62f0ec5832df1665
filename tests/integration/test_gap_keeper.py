"""What becomes of a gap: awaited, compared, closed with proof or left unproven by name."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from redis.exceptions import ConnectionError  # noqa: A004

from ampeco.errors import Forbidden, RateLimited, ServerFault
from eventlog.clock import now_ms
from eventlog.connection.embedded import EmbeddedServer
from eventlog.gap_records import MARGIN_MS, NOT_SUBSCRIBED, RESENDER, Gaps
from eventlog.heartbeat import Hole
from eventlog.inspection.gaps import Check, Gap, recorded_gaps
from eventlog.inspection.resends import resend_of, resender
from eventlog.internal import GAP_CLOSED
from eventlog.log import EventLog
from eventlog.retention import Keep, keep
from handlers import Context, Event, Raw, Retry, handler
from receiver.backfill import Window
from receiver.errors import NoRoom, NotComparable
from receiver.gap_keeper import PATIENCE_MS, GapKeeper
from receiver.metrics import Metrics
from tests.harness import declaration, drained, eventually, opened

SESSION, CDR, HARDWARE = "SessionUpdateNotification", "cdr.received", "HardwareStatusNotification"


class Listings:
    """Compares without AMPECO."""

    def __init__(self, *found: Check | Exception) -> None:
        self.found = list(found)
        self.asked: list[tuple[str, Window]] = []

    async def check(
        self, type: str, window: Window, *, between: Callable[[], Any], appended: Callable[[int], None]
    ) -> Check:
        await between()
        self.asked.append((type, window))
        found = self.found.pop(0) if len(self.found) > 1 else self.found[0]
        if isinstance(found, Exception):
            raise found
        appended(found.reconstructed)
        return found


class Keeping:
    """A keeper, and the time it goes by."""

    def __init__(
        self, log: EventLog, listings: Listings | None = None, types: tuple[str, ...] = (SESSION, CDR)
    ) -> None:
        self.ahead_ms = 0
        self.log = log
        self.metrics = Metrics()
        self.keeper = GapKeeper(
            log,
            listings,
            types,
            after_s=300,
            metrics=self.metrics,
            is_open=lambda: True,
            clock=lambda: now_ms() + self.ahead_ms,
        )

    async def gap(self, pass_s: float = 0) -> Gap:
        """Let time pass and the keeper look; return the newest gap."""
        self.ahead_ms += round(pass_s * 1000)
        await self.keeper.check()
        return (await recorded_gaps(self.log))[-1]


async def outage(log: EventLog, *types: str, seconds: int = 60) -> Hole:
    """Record an outage that ended just now."""
    now = now_ms()
    hole = Hole(now - seconds * 1000, now)
    await log.redis.hset(log.key("door"), "r", hole.from_ms)
    assert await log.close_gap("r", hole, types, "https://us.example/hook")
    return hole


@handler(RESENDER, on=[GAP_CLOSED], start="oldest")
async def accepted(event: Event[Raw], ctx: Context) -> None:
    """AMPECO accepts the resend."""


@handler(RESENDER, on=[GAP_CLOSED], start="oldest")
async def refused(event: Event[Raw], ctx: Context) -> None:
    raise Retry("AMPECO answers 429: too early for a resend", after_s=900, counts=False)


def test_without_backfill_a_gap_ends_with_its_resend_and_all_its_types_are_unproven(on_each_server) -> None:
    async def scenario(log: EventLog) -> None:
        keeping = Keeping(log)
        await log.declare([declaration(accepted)])
        await outage(log, SESSION, HARDWARE)
        waits = await keeping.gap()
        assert (waits.state, waits.waits) == ("open", "the resend waits: no worker has taken it yet")
        await drained(log, accepted)
        gap = await keeping.gap()
        assert gap.state == "unproven"
        assert gap.unproven == {
            SESSION: "this receiver has no API token",
            HARDWARE: "no listing of AMPECO shows it",
        }
        assert await keeping.gap(3_600) == gap, "nothing more happens to it"

    on_each_server(scenario)


def test_what_became_of_the_resend_is_known_after_its_traces_are_gone(on_each_server) -> None:
    async def scenario(log: EventLog) -> None:
        await log.declare([declaration(accepted)])
        await outage(log, SESSION)
        await drained(log, accepted)
        gap = await Keeping(log).gap()

        async def words(gap: Gap) -> str:
            return (await resend_of(log, gap, await resender(log), now_ms=now_ms())).words

        assert await words(gap) == "accepted by AMPECO"
        await keep(log, Keep(hours=0, history_days=0))
        assert await words(gap) == "accepted by AMPECO"
        assert (
            await words(replace(gap, resend="")) == "not known: the log has no trace of the request any more"
        )

    on_each_server(scenario)


def test_a_gap_is_closed_with_proof_some_time_after_the_resend(on_each_server) -> None:
    async def scenario(log: EventLog) -> None:
        listings = Listings(Check(214, 212, 2))
        keeping = Keeping(log, listings)
        await log.declare([declaration(accepted)])
        hole = await outage(log, SESSION)
        await drained(log, accepted)
        waits = await keeping.gap()
        assert (waits.state, waits.waits) == ("open", "what is on its way")
        assert (await keeping.gap(290)).state == "open"
        assert listings.asked == []
        gap = await keeping.gap(15)
        assert (gap.state, gap.checks, gap.unproven) == ("closed", {SESSION: Check(214, 212, 2)}, {})
        ((name, window),) = listings.asked
        assert name == SESSION
        assert window.since_ms == hole.from_ms - MARGIN_MS
        assert hole.to_ms <= window.until_ms <= hole.to_ms + MARGIN_MS
        assert keeping.metrics.registry.get_sample_value("awr_events_reconstructed_total") == 2

    on_each_server(scenario)


def test_types_that_no_listing_shows_are_left_unproven_by_name(on_each_server) -> None:
    async def scenario(log: EventLog) -> None:
        keeping = Keeping(log, Listings(Check(3, 3, 0)), (SESSION,))
        await outage(log, SESSION, HARDWARE, CDR)
        await keeping.gap()
        gap = await keeping.gap(300)
        assert (gap.state, gap.checks) == ("unproven", {SESSION: Check(3, 3, 0)})
        assert gap.unproven == {
            HARDWARE: "no listing of AMPECO shows it",
            CDR: "AWR_BACKFILL does not name it",
        }

    on_each_server(scenario)


def test_a_time_without_subscription_waits_for_no_resend(on_each_server) -> None:
    async def scenario(log: EventLog) -> None:
        await log.declare([declaration(refused)])
        keeping = Keeping(log, Listings(Check(1, 0, 1)))
        now = now_ms()
        await Gaps(log).note(NOT_SUBSCRIBED, now - 60_000, now, [SESSION])
        assert (await keeping.gap()).waits == "what is on its way"
        assert (await keeping.gap(300)).state == "closed"

    on_each_server(scenario)


def test_a_resend_that_is_refused_for_an_hour_holds_up_no_backfill_but_the_end_of_a_gap(
    on_each_server,
) -> None:
    async def scenario(log: EventLog) -> None:
        await log.declare([declaration(refused)])
        await outage(log, SESSION)
        await drained(log, refused)
        keeping, without = Keeping(log, Listings(Check(1, 1, 0))), Keeping(log)
        assert "429" in (await keeping.gap(1_800)).waits
        assert (await without.gap(7_200)).state == "open", "shown until AMPECO accepts, or a day is over"
        await keeping.gap(PATIENCE_MS / 1000 - 1_800 + 1)
        assert (await keeping.gap(300)).state == "closed"

    on_each_server(scenario)


def test_gaps_of_nearly_the_same_time_are_compared_together_and_distant_ones_apart(on_each_server) -> None:
    async def scenario(log: EventLog) -> None:
        listings = Listings(Check(5, 5, 0))
        keeping, now = Keeping(log, listings), now_ms()
        for minutes in (60, 50, 49, 46):
            begin = now - minutes * 60_000
            await Gaps(log).note(NOT_SUBSCRIBED, begin, begin + 10_000, [SESSION])
        await keeping.gap()
        await keeping.gap(300)
        assert {gap.state for gap in await recorded_gaps(log)} == {"closed"}
        assert [window.since_ms for _, window in listings.asked] == [
            now - 60 * 60_000 - MARGIN_MS,
            now - 50 * 60_000 - MARGIN_MS,
        ]

    on_each_server(scenario)


@pytest.mark.parametrize(
    ("error", "pause_s"),
    [
        (ServerFault("resources.cdrs.list", 502, "Bad Gateway"), 10),
        (RateLimited("resources.cdrs.list", 429, "", retry_after_s=120), 120),
        (NoRoom(), 10),
    ],
)
def test_a_failing_ampeco_leaves_the_gap_open_and_is_asked_again_later(
    on_each_server, error: Exception, pause_s: float
) -> None:
    async def scenario(log: EventLog) -> None:
        listings = Listings(Check(2, 2, 0), error, error, Check(1, 1, 0))
        keeping = Keeping(log, listings)
        now = now_ms()
        await Gaps(log).note(NOT_SUBSCRIBED, now - 60_000, now, [SESSION, CDR])
        await keeping.gap()
        gap = await keeping.gap(300)
        assert gap.state == "open"
        assert gap.waits.startswith(f"the comparison of {CDR}")
        await keeping.gap(pause_s / 2)
        assert len(listings.asked) == 2, "no hammering"
        await keeping.gap(pause_s / 2)
        await keeping.gap(5)
        assert len(listings.asked) == 3
        gap = await keeping.gap(600)
        assert (gap.state, len(gap.checks), len(listings.asked)) == ("closed", 2, 4), "the first type once"

    on_each_server(scenario)


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (Forbidden("resources.sessions.list", 403, "no"), "AMPECO refuses the listing (forbidden)"),
        (NotComparable("too many"), "too many"),
    ],
)
def test_what_cannot_be_compared_is_unproven_and_says_why(on_each_server, error: Exception, why: str) -> None:
    async def scenario(log: EventLog) -> None:
        keeping = Keeping(log, Listings(error))
        await outage(log, SESSION)
        await keeping.gap()
        gap = await keeping.gap(300)
        assert (gap.state, gap.unproven) == ("unproven", {SESSION: why})

    on_each_server(scenario)


def test_one_receiver_at_a_time_looks_after_the_gaps(on_each_server) -> None:
    async def scenario(log: EventLog) -> None:
        await outage(log, HARDWARE)
        assert await Gaps(log).lock("another", 60_000)
        assert (await Keeping(log).gap()).state == "open"
        await Gaps(log).unlock("a third")
        assert (await Keeping(log).gap()).state == "open"
        await Gaps(log).unlock("another")
        assert (await Keeping(log).gap()).state == "unproven"

    on_each_server(scenario)


def test_it_goes_on_when_redis_was_away_and_no_answer_of_ampeco_ends_it(
    server: EmbeddedServer, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("receiver.gap_keeper.LOOK_S", 0.05)
    monkeypatch.setattr("receiver.gap_keeper._FIRST_PAUSE_MS", 10)

    async def scenario() -> None:
        async with opened(server.url, prefix) as log:
            listings = Listings(RuntimeError("what AMPECO answered is odd"), Check(1, 1, 0))
            keeping = Keeping(log, listings)
            await outage(log, SESSION)
            running = asyncio.create_task(keeping.keeper.run())
            server.stop()
            await asyncio.sleep(0.3)
            assert not running.done()
            server.start()

            async def is_closed() -> bool:
                keeping.ahead_ms += 100_000
                with contextlib.suppress(ConnectionError):
                    return (await recorded_gaps(log))[-1].state == "closed"
                return False

            await eventually(is_closed)
            assert len(listings.asked) == 2
            running.cancel()

    asyncio.run(scenario())


def test_records_of_older_code_and_unreadable_ones_stop_nothing(on_each_server) -> None:
    async def scenario(log: EventLog) -> None:
        older = '{"from":"2026-11-24T06:00:00.000Z","to":"2026-11-24T06:01:00.000Z","types":["a"]}'
        await log.redis.hset(log.key("gaps"), mapping={"1": older, "2": "[]", "3": b"\xff", "4": "{"})
        gap = await Keeping(log).gap()
        assert (gap.state, gap.unproven) == ("unproven", {"a": "no listing of AMPECO shows it"})

    on_each_server(scenario)
