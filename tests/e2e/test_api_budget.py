"""Real workers and a tenant that limits its API: they share what it allows, and no event pays for it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from ampeco.simulator.switches import Habits
from ampeco.simulator.testing import Box, tenant_in_a_box
from eventlog.call_budget import BudgetStanding, budget_standing
from eventlog.connection.embedded import EmbeddedServer
from eventlog.log import EventLog
from eventlog.registry import CALL
from handlers.discovery import discover
from receiver.metrics import exposition
from tests.harness import declaration, event, on_log, position, soon, worker

READER = """
from handlers import Context, Event, Raw, SyncContext, handler

@handler("recorder", on=["t"], start="oldest", max_attempts=2)
async def recorder(event: Event[Raw], ctx: Context) -> None:
    await ctx.ampeco.notifications.list()

@handler("blocking", on=["t"], start="oldest", max_attempts=2)
def blocking(event: Event[Raw], ctx: SyncContext) -> None:
    ctx.ampeco.notifications.list()

@handler("alone", on=["t"], start="oldest", max_attempts=2, isolation="process")
async def alone(event: Event[Raw], ctx: Context) -> None:
    await ctx.ampeco.notifications.list()

@handler("pressing", on=["t"], start="oldest", max_attempts=2, urgent=True)
async def pressing(event: Event[Raw], ctx: Context) -> None:
    await ctx.ampeco.notifications.list()

@handler("quiet", on=["t"], start="oldest")
async def quiet(event: Event[Raw], ctx: Context) -> None:
    pass
"""
RATE = 40


class Scene:
    """A log, a handler file, and workers on it."""

    def __init__(self, server: EmbeddedServer, prefix: str, folder: Path, box: Box) -> None:
        self.server, self.prefix, self.folder, self.box = server, prefix, folder, box
        self.file = folder / "reader.py"
        self.file.write_text(READER)

    def in_log(self, work: Any) -> Any:
        return on_log(self.server.url, self.prefix, work)

    def fill(self, events: int, *names: str) -> None:
        found = [item for item in discover(load=[str(self.file)]).found if item.handler.name in names]

        async def append(log: EventLog) -> None:
            await log.declare([declaration(item.handler, version=item.version) for item in found])
            await log.append([event("t", f"session:{n}", n=n) for n in range(events)])

        self.in_log(append)

    def working(self, *names: str, **environ: str) -> Any:
        settings = {
            "AWR_TENANT_URL": self.box.url,
            "AWR_API_TOKEN": self.box.token,
            "AWR_HANDLERS_ALLOW": ",".join(names),
            **environ,
        }
        return worker(self.server.url, self.prefix, [self.file], settings, self.folder / "log")

    def stats(self, name: str) -> dict[str, int]:
        return dict(self.in_log(lambda log: position(log, name)).stats)

    def calls_made(self, *names: str) -> range:
        """How many calls the budget may count: those that arrived, and those that left and had no answer."""
        counts = [item for name in names for item in self.stats(name).items()]
        lost = sum(
            count for counter, count in counts if counter.startswith(CALL) and "|no-answer|" in counter
        )
        arrived = len(self.box.calls())
        return range(arrived, arrived + lost + 1)

    def budget(self) -> BudgetStanding:
        found: BudgetStanding = self.in_log(budget_standing)
        return found

    def refused(self) -> int:
        return len(self.box.calls(status=429))


@pytest.fixture
def scene(valkey: EmbeddedServer, prefix: str, tmp_path: Path) -> Iterator[Scene]:
    with tenant_in_a_box(habits=Habits(requests_per_s=RATE)) as box:
        yield Scene(valkey, prefix, tmp_path, box)


def test_two_workers_share_what_the_tenant_allows(scene: Scene):
    events, names = 80, ("recorder", "blocking", "pressing")
    scene.fill(events, *names)
    with scene.working(*names), scene.working(*names):
        soon(lambda: all(scene.stats(n).get("done") == events for n in names), within_s=180, every_s=0.5)
        soon(lambda: scene.budget().calls in scene.calls_made(*names))
    assert [scene.stats(n).get("dead", 0) for n in names] == [0, 0, 0]
    made, refused = len(scene.box.calls()), scene.refused()
    # On a busy machine calls of one second arrive in the next. Without a budget, nearly all would be refused first.
    assert refused < made / 2, f"{refused} of {made} calls were refused"
    found = scene.budget()
    assert found.limit == RATE
    assert found.refused == refused
    assert found.calls in scene.calls_made(*names)
    assert found.reserved >= events, "the urgent handler's calls are reserved ones"
    shown = scene.in_log(exposition).decode()
    assert f'awr_api_calls_total{{share="reserved"}} {float(found.reserved)}' in shown
    assert f"awr_api_rate_limited_total {float(refused)}" in shown
    assert f"awr_api_limit {float(RATE)}" in shown


def test_a_limit_of_the_operator_is_kept_by_all_processes_together(scene: Scene):
    events, names, per_s = 25, ("recorder", "alone"), 10
    scene.box.change_habits(requests_per_s=None)
    scene.fill(events, *names)
    limit = {"AWR_API_CALLS_PER_S": str(per_s)}
    with scene.working(*names, **limit), scene.working(*names, **limit):
        soon(lambda: all(scene.stats(n).get("done") == events for n in names), within_s=180, every_s=0.1)
        soon(lambda: scene.budget().calls == 2 * events)
    times = sorted(datetime.fromisoformat(call["at"]).timestamp() for call in scene.box.calls())
    assert len(times) == 2 * events
    # A second's calls may be saved, and a busy machine lets some of them arrive together. Without a limit, both
    # handlers make their 25 within half a second.
    most = max(sum(began <= at < began + 0.5 for at in times) for began in times)
    assert most <= 3 * per_s
    # The whole takes as long as the limit says, however late single calls arrive. Two limits would take half of that.
    assert times[-1] - times[0] >= (2 * events - 2 * per_s) / per_s
    assert (scene.refused(), scene.budget().reserved) == (0, 0)


def test_handlers_that_call_nothing_draw_nothing(scene: Scene):
    scene.fill(100, "quiet")
    with scene.working("quiet"):
        soon(lambda: scene.stats("quiet").get("done") == 100, within_s=60)
    assert scene.budget().sentence.startswith("no call was made yet")
    assert not scene.in_log(lambda log: log.redis.exists(log.key("budget")))
