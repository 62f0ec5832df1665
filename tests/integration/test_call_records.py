"""What is kept of a handler's calls to AMPECO: `explain` shows each with its duration, and metrics count them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from ampeco.client import AsyncClient, Client
from commands.explain_text import lines
from eventlog.attempt_notes import notes_of
from eventlog.clock import now_ms
from eventlog.inspection.explain import explain
from eventlog.log import EventLog
from handlers import Context, Event, GiveUp, Raw, SyncContext, handler
from receiver.metrics import exposition
from tests.cli import Cli
from tests.harness import VERSION, declaration, event, opened
from tests.integration.test_log_metrics import samples
from workers.delivery.attempt import Runtime
from workers.drain.dispatcher import Dispatcher

RESET = "charge-point.reset"
ROBOTS = "/public-api/resources/robots/v1.0/{}"
Answer = Callable[[httpx2.Request], httpx2.Response]


async def handled(log: EventLog, h: Any, answer: Answer) -> list[str]:
    """Append an event, run the handler on it, and return what `explain` says of it."""
    await log.declare([declaration(h)])
    [accepted] = (await log.append([event()])).answers
    transport = httpx2.MockTransport(answer)
    async with AsyncClient("https://tenant.example", "token", transport=transport) as client:
        with Client("https://tenant.example", "token", transport=transport) as sync_client:
            runtime = Runtime(h, VERSION, client=client, sync_client=sync_client)
            dispatcher = Dispatcher(log, "default", {h.name: runtime})
            while await dispatcher.work():
                pass
            await dispatcher.stop()
    found = await explain(log, accepted.event_id or "", handler=None, now_ms=now_ms())
    return list(lines(found, ()))


def on_log(check: Callable[[EventLog], Any], url: str, prefix: str) -> None:
    async def run() -> None:
        async with opened(url, prefix) as log:
            await check(log)

    asyncio.run(run())


def answers(request: httpx2.Request) -> httpx2.Response:
    return httpx2.Response(404 if "robots" in request.url.path else 202)


def test_explain_shows_each_call_with_its_status_and_duration(valkey, prefix):
    @handler("h", on=["*"], start="oldest", calls=[RESET])
    async def h(event: Event[Raw], ctx: Context) -> None:
        await ctx.ampeco.actions.charge_point.reset("12", "soft")
        for n in range(7):
            with pytest.raises(Exception, match="robots"):
                await ctx.ampeco.call("GET", ROBOTS.format(n))
        raise GiveUp("no robot")

    async def check(log: EventLog) -> None:
        shown = [line.strip() for line in await handled(log, h, answers)]
        called = [line for line in shown if line.startswith("called ")]
        assert called[0].startswith(
            f"called {RESET} /public-api/actions/charge-point/v1.0/12/reset/soft → 202 in "
        )
        assert called[0].endswith(" ms")
        # The last calls that change nothing, since the attempt failed.
        assert [line.partition(" → ")[0] for line in called[1:]] == [
            f"called GET {ROBOTS.format(n)}" for n in range(2, 7)
        ]
        assert called[1].partition(" → ")[2].startswith("404 not-found in ")
        found = samples(await exposition(log))
        assert found["awr_api_call_seconds_count", RESET, "2xx"] == 1
        assert found["awr_api_call_seconds_bucket", "30", RESET, "2xx"] == 1
        assert found["awr_api_call_seconds_count", "(other)", "4xx"] == 7
        assert found["awr_attempts_failed_total", "h", "gave-up"] == 1
        assert found["awr_handler_run_seconds_count", "h"] == 1
        assert 0 < found["awr_handler_run_seconds_sum", "h"] < 20

    on_log(check, valkey.url, prefix)


def test_without_an_answer_the_reason_stands_for_the_status(valkey, prefix):
    def away(request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ReadTimeout("too slow")

    @handler("h", on=["*"], start="oldest", calls=[RESET])
    def h(event: Event[Raw], ctx: SyncContext) -> None:
        try:
            ctx.ampeco.actions.charge_point.reset("12", "soft")
        except Exception as error:
            raise GiveUp("no answer") from error

    async def check(log: EventLog) -> None:
        shown = "\n".join(await handled(log, h, away))
        assert f"called {RESET} /public-api/actions/charge-point/v1.0/12/reset/soft → no-answer in " in shown
        assert samples(await exposition(log))["awr_api_call_seconds_count", RESET, "no-answer"] == 3, (
            "each send"
        )

    on_log(check, valkey.url, prefix)


def test_of_many_actions_the_first_are_kept_and_the_rest_is_counted(valkey, prefix):
    @handler("h", on=["*"], start="oldest", calls=["POST /public-api/actions/wash/v9.0/{id}"])
    async def h(event: Event[Raw], ctx: Context) -> None:
        for n in range(23):
            await ctx.ampeco.call("POST", f"/public-api/actions/wash/v9.0/{n}")

    async def check(log: EventLog) -> None:
        called = [line.strip() for line in await handled(log, h, answers) if "called" in line]
        assert len(called) == 21
        assert called[0].startswith("called POST /public-api/actions/wash/v9.0/0 → 202 in ")
        assert called[-1] == "called … 3 more"
        operation = "POST /public-api/actions/wash/v9.0/{id}"
        assert samples(await exposition(log))["awr_api_call_seconds_count", operation, "2xx"] == 23

    on_log(check, valkey.url, prefix)


def test_a_handler_that_calls_nothing_leaves_no_note(valkey, prefix):
    @handler("h", on=["*"], start="oldest")
    async def h(event: Event[Raw], ctx: Context) -> None:
        await ctx.ampeco.call("GET", ROBOTS.format(1))

    @handler("quiet", on=["*"], start="oldest")
    async def quiet(event: Event[Raw], ctx: Context) -> None: ...

    async def check(log: EventLog) -> None:
        for each in (h, quiet):
            shown = await handled(log, each, lambda request: httpx2.Response(200, json={}))
            assert not [line for line in shown if "called" in line]

    on_log(check, valkey.url, prefix)


def test_outcomes_of_a_handler_are_listed_without_what_is_measured(capsys, monkeypatch, valkey, prefix):
    @handler("h", on=["*"], start="oldest", calls=[RESET])
    async def h(event: Event[Raw], ctx: Context) -> None:
        await ctx.ampeco.actions.charge_point.reset("12", "soft")
        raise GiveUp("enough")

    on_log(lambda log: handled(log, h, answers), valkey.url, prefix)
    [row] = Cli(capsys, monkeypatch, valkey.url, prefix).json("handlers", "list")
    assert row["outcomes"] == {"dead": 1}


def test_a_note_of_older_code_is_shown_as_it_is():
    [note] = notes_of([[1, "done", "", [f"{RESET} /public-api/x ok 202", "words of something else"]]])
    assert note.actions == (f"{RESET} /public-api/x ok 202", "words of something else")
