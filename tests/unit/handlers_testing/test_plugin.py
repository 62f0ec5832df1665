"""The pytest plugin: fixtures by entry point, and nothing of ours imported until a test asks for one."""

from __future__ import annotations

import asyncio
import dataclasses
import gzip
import os
import subprocess
import sys
from pathlib import Path

from ampeco.notifications import HardwareStatus
from ampeco.simulator.testing import Box
from handlers import Context, Event, GiveUp, Retry, Skip, Timer, handler
from handlers.testing import deliver, event_of
from handlers.testing.real_worker import RealWorker
from tests.harness import soon

OURS = ("ampeco", "commands", "eventlog", "handlers", "httpx2", "pydantic", "receiver", "redis", "workers")


def pytest_in(folder: Path, text: str, *options: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_it.py").write_text(text)
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("AWR_", "PYTEST_"))}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:valkey", *options],
        cwd=folder,
        env=environ,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_project_that_does_not_use_the_kit_imports_nothing_of_ours(tmp_path):
    done = pytest_in(
        tmp_path,
        "import sys\n"
        f"OURS = {OURS}\n"
        "def test_nothing():\n"
        "    assert 'pytest_ampeco.plugin' in sys.modules\n"
        "    assert [name for name in OURS if name in sys.modules] == []\n",
        "-p", "no:hypothesispytest", "-p", "no:anyio", "-W", "error",
    )  # fmt: skip
    assert "1 passed" in done.stdout, done.stdout


def test_a_projects_own_fixtures_win(tmp_path):
    done = pytest_in(
        tmp_path,
        "import pytest\n"
        "@pytest.fixture\n"
        "def real_worker():\n    return 'mine'\n"
        "def test_mine(real_worker):\n    assert real_worker == 'mine'\n",
    )
    assert "1 passed" in done.stdout, done.stdout


def test_fixtures_are_there_by_entry_point(tmp_path):
    done = pytest_in(
        tmp_path,
        "def test_fake(fake_ampeco, handler_memory):\n    assert fake_ampeco.clock is handler_memory.clock\n",
    )
    assert "1 passed" in done.stdout, done.stdout


# -- the pretend tenant on a port


def test_the_tenant_has_what_was_seeded(ampeco_tenant: Box):
    ampeco_tenant.seed("users", 7, email="ada@tenant.example", balance=12.5)
    ampeco_tenant.seed("sessions", 4711, status="active", user_id=7)
    ampeco_tenant.seed("evses", 121, hardware_status="faulted")
    with ampeco_tenant.sync_client() as client:
        assert client.resources.users.read(7).balance == 12.5
        assert client.resources.sessions.read(4711).status == "active"
        assert client.resources.evses.read(121).hardware_status == "faulted"
        client.actions.user.add_balance(7, amount=2.5, reason="refund")
        assert client.resources.users.read(7).balance == 15.0
    ampeco_tenant.seed("users", 7, balance=0)
    with ampeco_tenant.sync_client() as client:
        assert client.resources.users.read(7).email == "ada@tenant.example"
        assert client.resources.users.read(7).balance == 0


def test_a_seed_changes_what_a_running_fleet_shows(ampeco_tenant: Box):
    ampeco_tenant.start(charge_points=2)
    ampeco_tenant.stop()
    ampeco_tenant.seed("charge-points", 1, hardware_status="faulted")
    with ampeco_tenant.sync_client() as client:
        assert client.resources.charge_points.read(1).hardware_status == "faulted"
        assert client.resources.charge_points.read(1).name == "Charge point 1"


def test_a_delivery_may_call_the_tenant_on_its_port(ampeco_tenant: Box):
    @handler("t.reset", calls=["charge-point.reset"])
    async def reset(event: Event[HardwareStatus], ctx: Context) -> None:
        await ctx.ampeco.actions.charge_point.reset(event.payload.charge_point_id, "soft")

    outcome = asyncio.run(deliver(reset, event_of(HardwareStatus), ampeco=ampeco_tenant))
    assert (outcome.kind, outcome.operations) == ("done", ["charge-point.reset"])
    assert [each["operation"] for each in ampeco_tenant.actions()] == ["charge-point.reset"]


# -- a real log and worker


def test_a_real_worker_lets_timers_fall_due(real_worker: RealWorker):
    seen: list[str] = []

    @handler("t.timer")
    async def timed(event: Event[HardwareStatus | Timer], ctx: Context) -> None:
        if isinstance(event.payload, Timer):
            seen.append(event.payload.name)
        else:
            ctx.later("check", 0)

    real_worker.start(timed)
    (event_id,) = real_worker.send(event_of(HardwareStatus))
    assert real_worker.outcome(event_id, timed).kind == "done"
    soon(lambda: seen == ["check"])


def test_a_real_worker_settles_events_in_order(real_worker: RealWorker):
    seen: list[str] = []

    @handler("t.real")
    async def real(event: Event[HardwareStatus], ctx: Context) -> None:
        seen.append(event.payload.hardware_status or "")
        if ctx.attempt == 1 and event.payload.hardware_status == "faulted":
            raise Retry("once more", after_s=0)

    real_worker.start(real)
    events = [event_of(HardwareStatus, hardware_status=word) for word in ("faulted", "available")]
    first, second = real_worker.send(*events)
    assert real_worker.outcome(first, real).kind == "done"
    assert real_worker.outcome(second, real).kind == "done"
    assert seen == ["faulted", "faulted", "available"]


def test_a_real_worker_serves_the_queue_of_each_of_its_handlers(real_worker: RealWorker):
    @handler("t.usual")
    async def usual(event: Event[HardwareStatus], ctx: Context) -> None: ...

    @handler("t.bulk", queue="bulk")
    async def bulk(event: Event[HardwareStatus], ctx: Context) -> None: ...

    real_worker.start(usual)
    real_worker.start(bulk)
    (sent,) = real_worker.send(event_of(HardwareStatus))
    assert {real_worker.outcome(sent, each).kind for each in (usual, bulk)} == {"done"}


def test_a_real_worker_settles_what_a_newer_event_replaces(real_worker: RealWorker):
    @handler("t.latest", order="latest")
    async def latest(event: Event[HardwareStatus], ctx: Context) -> None:
        if event.payload.hardware_status == "faulted":
            raise Retry("later", after_s=1)

    real_worker.start(latest)
    (older,) = real_worker.send(event_of(HardwareStatus, charge_point_id=1, hardware_status="faulted"))
    (newer,) = real_worker.send(event_of(HardwareStatus, charge_point_id=1, hardware_status="available"))
    outcome = real_worker.outcome(older, latest)
    assert (outcome.kind, outcome.reason) == ("skipped", "superseded")
    assert real_worker.outcome(newer, latest).kind == "done"


MARKED = {"raw": gzip.compress(event_of(HardwareStatus).raw), "encoding": "gzip", "reconstructed": True}


def test_marks_of_an_event_reach_the_handler(real_worker: RealWorker):
    seen: list[tuple[bool, str, str]] = []

    @handler("t.marks")
    async def marks(event: Event[HardwareStatus], ctx: Context) -> None:
        seen.append((event.reconstructed, event.encoding, event.payload.charge_point_id))

    event = dataclasses.replace(event_of(HardwareStatus), **MARKED)
    assert asyncio.run(deliver(marks, event)).kind == "done"
    real_worker.start(marks)
    (sent,) = real_worker.send(event)
    assert real_worker.outcome(sent, marks).kind == "done"
    assert seen == [(True, "gzip", event.payload.charge_point_id)] * 2


def test_a_real_worker_tells_skips_and_deaths(real_worker: RealWorker):
    @handler("t.ends")
    async def ends(event: Event[HardwareStatus], ctx: Context) -> None:
        raise Skip("not now") if event.payload.hardware_status == "available" else GiveUp("never")

    real_worker.start(ends)
    skipped, dead = real_worker.send(
        event_of(HardwareStatus, charge_point_id=1, hardware_status="available"),
        event_of(HardwareStatus, charge_point_id=2, hardware_status="faulted"),
    )
    outcome = real_worker.outcome(skipped, ends)
    assert (outcome.kind, outcome.reason) == ("skipped", "not now")
    outcome = real_worker.outcome(dead, ends)
    assert (outcome.kind, outcome.slug) == ("dead", "gave-up")
