"""Whether `AWR_KEEP_HOURS` at the rate of the last hour fits into `AWR_LOG_MAX_BYTES`: `status`, `doctor`."""

from __future__ import annotations

import asyncio

import pytest

from eventlog.inspection.forecast import Forecast, forecast
from eventlog.log import EventLog
from eventlog.rates import samples
from eventlog.retention import Keep, keep
from eventlog.usage import standing
from tests.cli import Cli
from tests.harness import event, opened

BODY = 2_000
EVENTS = 250
MIB = 1 << 20


@pytest.fixture
def cli(capsys, monkeypatch, valkey, prefix) -> Cli:
    return Cli(capsys, monkeypatch, valkey.url, prefix)


async def busy(log: EventLog, *, minutes_ago: int = 58) -> None:
    """Append events, and let housekeeping have counted before and after them."""
    now_ms = (await samples(log))[-1].at_ms
    await log.redis.hset(log.key("minutes"), "0", f"{now_ms - minutes_ago * 60_000} 0 0 0")
    await log.append([event(key=f"session:{n}", n=n, text="x" * BODY) for n in range(EVENTS)])
    await keep(log, Keep())


def run(valkey, prefix, work) -> None:
    async def with_log() -> None:
        async with opened(valkey.url, prefix) as log:
            await work(log)

    asyncio.run(with_log())


def test_what_does_not_fit_is_said_with_the_numbers(valkey, prefix, cli, monkeypatch) -> None:
    run(valkey, prefix, busy)
    seen = cli.json("status")
    assert seen["forecast"]["fits"] is True
    assert seen["forecast"]["bytes_per_event"] >= BODY
    assert seen["forecast"]["events_per_hour"] == pytest.approx(EVENTS * 60 / 58, rel=0.02)
    assert "AWR_KEEP_HOURS" not in str(seen["needs_attention"])

    monkeypatch.setenv("AWR_LOG_MAX_BYTES", str(10 * MIB))
    seen = cli.json("status")
    assert seen["forecast"]["fits"] is False
    assert seen["forecast"]["needed_bytes"] >= 24 * EVENTS * BODY
    assert 0 < seen["forecast"]["hours"] < 24
    [line] = [line for line in seen["needs_attention"] if "AWR_KEEP_HOURS" in line]
    assert "of 10 MiB" in line
    assert line in cli("status")[1]

    monkeypatch.setenv("AWR_KEEP_HOURS", "6")
    assert cli.json("status")["forecast"]["fits"] is True


def test_the_doctor_warns_of_it(valkey, prefix, cli, monkeypatch) -> None:
    run(valkey, prefix, busy)
    monkeypatch.setenv("AWR_LOG_MAX_BYTES", str(10 * MIB))
    out = cli("doctor")[1]
    [line] = [line for line in out.splitlines() if " log-size " in line]
    assert line.startswith("warning")
    assert "so settled ones go after" in line
    assert "raise AWR_LOG_MAX_BYTES" in line


def test_a_burst_is_not_taken_for_a_day(valkey, prefix) -> None:
    async def check(log: EventLog) -> None:
        await busy(log, minutes_ago=5)
        assert await forecast(log, Keep(max_bytes=MIB), await samples(log), await standing(log)) is None

    run(valkey, prefix, check)


def test_the_hours_are_those_after_which_the_limit_is_reached() -> None:
    found = Forecast(
        per_hour=1_000,
        event_bytes=1_000,
        keep_hours=24,
        fixed_bytes=MIB,
        duplicate_bytes=MIB,
        max_bytes=12 * MIB,
    )
    assert not found.fits
    assert found.hours == pytest.approx(10 * MIB / 1_000_000)
    assert Forecast(1_000, 1_000, 10, MIB, MIB, 12 * MIB).fits
