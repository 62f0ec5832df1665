"""What one process knows of services, with a real log: names of authors are bounded, and probes survive faults."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from structlog.testing import capture_logs

from eventlog.log import EventLog
from eventlog.outages import AMPECO, MOST_NAMES, OTHERS, REST, Outages, Rules, known_outages
from handlers import Backoff, Context, Event, Raw, Unavailable, handler
from tests.harness import declaration, event, eventually, opened
from tests.outage import Ampeco, living
from workers.drain.service_watch import ServiceWatch
from workers.process.prober import Answer, probe_forever

LONG = Rules(first_s=60.0, longest_s=600.0)
LONG_NAME = "billing of the north " * 10
Check = Callable[[EventLog], Awaitable[None]]


@pytest.fixture
def with_log(valkey, prefix) -> Callable[[Check], None]:
    def run(check: Check) -> None:
        async def opened_and_checked() -> None:
            async with opened(valkey.url, prefix, lanes=1) as log:
                await check(log)

        asyncio.run(opened_and_checked())

    return run


@handler("h", on=["*"], start="oldest", backoff=Backoff(0.01, 0.05))
async def h(event: Event[Raw], ctx: Context) -> None:
    raise Unavailable(f"account of {event.key}")


def test_a_long_name_of_an_author_is_the_same_service_in_the_log_and_in_the_process(with_log):
    async def check(log: EventLog) -> None:
        await log.declare([declaration(h)])
        services = ServiceWatch(Outages(log, LONG), lambda _: None)
        watch = services.of("h", h.backoff)
        service = watch.service_of(LONG_NAME)
        with capture_logs() as logs:
            for key in "abcde":
                watch.failed(service, key, "unavailable")
            await services.until_noted()
            await services.look()
        assert [line["event"] for line in logs] == ["service.away"]
        assert list((await known_outages(log)).outages) == [service]
        assert services.is_away(service)

    with_log(check)


def test_a_handler_that_names_every_account_is_held_all_the_same(with_log):
    """Fifty names count by themselves, and all others as one."""

    async def check(log: EventLog) -> None:
        await log.declare([declaration(h)])
        await log.append([event("t", f"session:{n}") for n in range(2 * MOST_NAMES)])
        async with living(log, Ampeco(), [h], rules=LONG):
            await eventually(lambda: _away(log, REST))
        names = set((await known_outages(log)).outages)
        assert len(names) <= MOST_NAMES
        assert all(name.startswith(OTHERS) for name in names)

    with_log(check)


def test_names_of_other_processes_are_not_kept_for_ever(with_log):
    """Of each service on which the handler failed anywhere, an event that went well is an answer."""

    async def check(log: EventLog) -> None:
        await log.declare([declaration(h)])
        outages = Outages(log, LONG)
        services = ServiceWatch(outages, lambda _: None)
        watch = services.of("h", h.backoff)
        for n in range(200):
            await outages.failed(f"{OTHERS}{n}", "h", "unavailable", ["a"])
            if n % 40 == 0:
                await services.look()
                watch.went_well()
                await services.until_noted()
        await services.look()
        assert len(services._answered_s) <= MOST_NAMES
        assert len(services._said_s) <= MOST_NAMES

    with_log(check)


def test_a_probe_that_fails_unexpectedly_is_logged_without_words_and_made_again(with_log):
    rules = Rules(first_s=0.01, longest_s=10.0, probe_s=0.05)
    asked = 0

    async def ask() -> Answer | None:
        nonlocal asked
        asked += 1
        if asked == 1:
            raise ValueError("Illegal header value: Bearer s3cret")
        return Answer(None)

    async def check(log: EventLog) -> None:
        await log.declare([declaration(h)])
        services = ServiceWatch(Outages(log, rules), lambda _: None)
        await services.outages.failed(AMPECO, "h", "503", list("abcde"))
        await services.look()
        with capture_logs() as logs:
            probing = asyncio.create_task(probe_forever(log, services, ask))
            await eventually(lambda: _is_back(log))
            probing.cancel()
        failed = [line for line in logs if line["event"] == "probe.failed"]
        assert len(failed) == 1
        assert failed[0]["where"].startswith("ValueError")
        assert "s3cret" not in str(logs)
        assert asked == 2

    with_log(check)


async def _away(log: EventLog, service: str) -> bool:
    found = (await known_outages(log)).outages.get(service)
    return found is not None and found.away_ms is not None


async def _is_back(log: EventLog) -> bool:
    return not await _away(log, AMPECO)
