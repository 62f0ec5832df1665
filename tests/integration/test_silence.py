"""Silence against the usual rate of the hour: learned, noticed, reported once, and over with the next event."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from structlog.testing import capture_logs

from eventlog.clock import now_ms
from eventlog.housekeeping import _listen
from eventlog.log import EventLog
from eventlog.silence import look, quiet
from receiver.metrics import exposition
from tests.harness import event

HOUR_MS = 3_600_000
SOON_AFTER = 34  # events: 19, ten of a minute, and one for each six seconds of a slow machine


def of_two_hours(hour: int, events: int) -> dict[str, int]:
    return {f"w{(hour + n) % 168}": events for n in (0, 1)}


async def usual(log: EventLog, **changes: Any) -> None:
    """Write what was learned, as if the last look were a minute ago; no event has come for half an hour.

    The next hour is as usual as this one, since it may begin before the log looks.
    """
    now = now_ms()
    hour = now // HOUR_MS
    fields = {
        "at": now - 60_000,
        "count": 0,
        "hour": hour,
        "got": 0,
        "watched": 60_000,
        "since": now - 1_800_000,
        "expected": 0,
        "silent": 0,
        **of_two_hours(hour, 600),
        **changes,
    }
    await log.redis.hset(log.key("usual"), mapping=fields)
    await log.redis.hset(log.key("door"), "r", now)


def test_it_learns_how_many_events_come_in_an_hour_of_the_week(on_each_server) -> None:
    async def scenario(log: EventLog) -> None:
        hour = now_ms() // HOUR_MS
        await log.append([event(n=n) for n in range(5)])
        await usual(log, hour=hour - 1, got=295, watched=HOUR_MS - 60_000, count=5)
        await look(log)
        await usual(log, hour=hour - 2, got=100, watched=HOUR_MS // 2, count=5)
        await look(log)
        found = await log.redis.hgetall(log.key("usual"))
        assert float(found[b"w%d" % ((hour - 1) % 168)]) == pytest.approx(300)
        assert float(found[b"d%d" % ((hour - 1) % 24)]) == pytest.approx(300)
        assert b"w%d" % ((hour - 2) % 168) not in found, "half an hour teaches nothing"
        await usual(log, hour=hour - 1, got=590, watched=HOUR_MS - 60_000, count=5)
        await look(log)
        newer = float((await log.redis.hget(log.key("usual"), f"w{(hour - 1) % 168}")) or 0)
        assert 300 < newer < 600, "the newest counts most, not alone"

    on_each_server(scenario)


def test_a_table_of_every_hour_stays_small(on_each_server) -> None:
    async def scenario(log: EventLog) -> None:
        for hour in range(500):
            await usual(log, hour=hour, got=5, watched=HOUR_MS)
            await look(log)
        assert await log.redis.hlen(log.key("usual")) <= 8 + 168 + 24
        assert await log.redis.memory_usage(log.key("usual"), samples=0) < 20_000

    on_each_server(scenario)


def test_silence_is_reported_once_and_ends_with_the_next_event(on_each_server) -> None:
    async def scenario(log: EventLog) -> None:
        await usual(log, expected=19)
        began = await look(log)
        assert (began.turn, round(began.ms / 60_000)) == ("began", 30)
        assert 29 <= began.expected < SOON_AFTER
        assert (await look(log)).turn == ""
        found = await quiet(log)
        assert (29 <= found.expected < SOON_AFTER, found.is_silent) == (True, True)
        text = (await exposition(log)).decode()
        assert "awr_silent 1.0" in text
        await log.append([event(n=1)])
        assert (await look(log)).turn == "ended"
        assert (await look(log)).turn == ""

    on_each_server(scenario)


@pytest.mark.parametrize(
    ("why", "changes"),
    [
        ("few are missing", lambda now: {"expected": 5}),
        ("it is not long", lambda now: {"since": now - 300_000, "expected": 500}),
        ("nothing is known of this hour", lambda now: {**of_two_hours(now // HOUR_MS, 0), "expected": 19}),
        ("nothing has looked for an hour", lambda now: {"at": now - HOUR_MS, "expected": 500}),
        ("the clock went back", lambda now: {"at": now + HOUR_MS, "expected": 500}),
        ("the log was emptied", lambda now: {"count": 1_000, "expected": 500}),
    ],
)
def test_what_is_no_silence(on_each_server, why: str, changes: Callable[[int], dict[str, Any]]) -> None:
    async def scenario(log: EventLog) -> None:
        await usual(log, **changes(now_ms()))
        assert (await look(log)).turn == "", why

    on_each_server(scenario)


def test_while_no_receiver_is_open_nothing_is_missed(on_each_server) -> None:
    async def scenario(log: EventLog) -> None:
        await usual(log, expected=500)
        await log.redis.hset(log.key("door"), "r", now_ms() - 60_000)
        found = await look(log)
        assert (found.turn, found.ms, found.expected) == ("", 0, 0)

    on_each_server(scenario)


def test_events_that_were_reconstructed_end_no_silence(on_each_server) -> None:
    async def scenario(log: EventLog) -> None:
        await usual(log, expected=19)
        assert (await look(log)).turn == "began"
        await log.append([event(n=1)._replace(mark="reconstructed,at=0")])
        assert (await look(log)).turn == ""
        found = await quiet(log)
        assert (29 <= found.expected < SOON_AFTER, found.is_silent) == (True, True)

    on_each_server(scenario)


def test_it_is_a_warning_and_calls_nothing(on_each_server) -> None:
    async def scenario(log: EventLog) -> None:
        await usual(log, expected=19)
        await _listen(log)
        await log.append([event(n=1)])
        await _listen(log)

    with capture_logs() as said:
        on_each_server(scenario)
    stopped, resumed = said
    assert (stopped["event"], stopped["log_level"]) == ("notifications.stopped", "warning")
    assert 29 <= stopped["usually"] < SOON_AFTER
    assert 1_800 <= stopped["silent_s"] < 1_830
    assert (resumed["event"], resumed["log_level"]) == ("notifications.resumed", "info")
