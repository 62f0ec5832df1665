"""Real workers while the tenant answers 503: the log says so, nothing dies, and all of it is handled afterwards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ampeco.simulator.switches import Habits
from ampeco.simulator.testing import tenant_in_a_box
from eventlog.log import EventLog
from eventlog.outages import AMPECO, Outage, known_outages
from handlers.discovery import discover
from receiver.metrics import exposition
from tests.cli import Cli
from tests.harness import declaration, event, on_log, position, soon, worker

FILE = """
from handlers import Context, Event, Raw, SyncContext, handler

@handler("recorder", on=["t"], start="oldest", max_attempts=8)
async def recorder(event: Event[Raw], ctx: Context) -> None:
    await ctx.ampeco.notifications.list()

@handler("blocking", on=["t"], start="oldest", max_attempts=8)
def blocking(event: Event[Raw], ctx: SyncContext) -> None:
    ctx.ampeco.notifications.list()
"""
NAMES = ("recorder", "blocking")
EVENTS = 200


def test_an_outage_is_told_costs_nothing_and_ends_by_itself(valkey, prefix, tmp_path: Path, cli: Cli):
    file = tmp_path / "mine.py"
    file.write_text(FILE)

    def in_log(work: Any) -> Any:
        return on_log(valkey.url, prefix, work)

    async def fill(log: EventLog) -> None:
        found = [item for item in discover(load=[str(file)]).found if item.handler.name in NAMES]
        await log.declare([declaration(item.handler, version=item.version) for item in found])
        await log.append([event("t", f"session:{n}", n=n) for n in range(EVENTS)])

    def is_held() -> bool:
        return set(in_log(known_outages).away) == set(NAMES)

    def is_done() -> bool:
        return all(in_log(lambda log, n=n: position(log, n)).stats.get("done") == EVENTS for n in NAMES)

    outage = Habits(api_fault_share=1.0, api_fault_status=503, api_fault_html=False)
    with tenant_in_a_box(habits=outage) as box:
        in_log(fill)
        settings = {
            "AWR_TENANT_URL": box.url, "AWR_API_TOKEN": box.token, "AWR_HANDLERS_ALLOW": ",".join(NAMES),
        }  # fmt: skip
        log = tmp_path / "log"
        with (
            worker(valkey.url, prefix, [file], settings, log),
            worker(valkey.url, prefix, [file], settings, log),
        ):
            soon(is_held, within_s=60, every_s=0.2)
            listed = {row["name"]: row for row in cli.json("handlers", "list")}
            assert listed["recorder"]["held"]["service"] == AMPECO
            assert listed["recorder"]["state"] == "held"
            assert "held: AMPECO has answered 503 since 20" in cli("handlers", "list")[1]
            told = cli("explain", "session:7", "--handler", "recorder")[1]
            assert "AMPECO has answered 503 since 20" in told
            assert "; next probe 20" in told
            shown = in_log(exposition).decode()
            assert 'awr_service_away{service="ampeco"} 1.0' in shown
            assert 'awr_handler_held{handler="blocking",service="ampeco"} 1.0' in shown

            def outage() -> Outage:
                return in_log(known_outages).outages[AMPECO]

            begun = outage().next_ms
            soon(lambda: outage().next_ms != begun)  # what was in flight has come to its end
            sent, probed = len(box.calls()), outage().next_ms
            soon(lambda: outage().next_ms != probed)
            assert 1 <= len(box.calls()) - sent < 10, "probes, and none of the deliveries that wait"
            box.change_habits(api_fault_share=0.0)
            soon(is_done, within_s=90, every_s=0.5)
        found = [in_log(lambda log, name=name: position(log, name)) for name in NAMES]
        assert [(each.dead, each.open) for each in found] == [(0, 0), (0, 0)]
        assert 'awr_service_away{service="ampeco"} 0.0' in in_log(exposition).decode()
        assert "service.away" in log.read_text()
