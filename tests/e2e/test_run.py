"""One machine serves a tenant: parts in order, nothing left behind, one line for a wrong configuration."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import redis

from commands.demo_stack import free_port
from commands.simulator_control import SimulatorControl
from eventlog.connection.embedded import EmbeddedServer
from tests.e2e.process_tree import ran, started
from tests.harness import soon


class Tenant:
    """A simulator process, and what it has seen."""

    def __init__(self, url: str) -> None:
        self.url = url

    def state(self) -> dict[str, Any]:
        async def ask() -> dict[str, Any]:
            async with SimulatorControl(self.url) as control:
                return await control.state()

        return asyncio.run(ask())


@pytest.fixture
def tenant(tmp: Path) -> Iterator[Tenant]:
    with started("simulator", "--port", "0", "--scenario", "default", tmp=tmp) as simulator:
        yield Tenant(simulator.says(r"The simulator is at (\S+),")[1])


def configured(tenant_url: str, tmp: Path, **changes: str) -> dict[str, str]:
    port = free_port()
    return {
        "AWR_TENANT_URL": tenant_url,
        "AWR_API_TOKEN": "simulated-tenant-token",
        "AWR_PUBLIC_URL": f"http://127.0.0.1:{port}",
        "AWR_PORT": str(port),
        "AWR_ADMIN_PORT": str(free_port()),
        "AWR_DATA_DIR": str(tmp / "data"),
        **changes,
    }


LOAD = ("--load", "handlers.builtin.demo_journal")


def test_it_serves_a_tenant_and_ends_in_order(tenant: Tenant, tmp: Path) -> None:
    environ = configured(tenant.url, tmp)
    with started("run", *LOAD, tmp=tmp, **environ) as run:
        soon(lambda: tenant.state()["delivered"] >= 20, every_s=0.2)
        (subscription,) = tenant.state()["subscriptions"]
        assert subscription["webhook"]["callbackUrl"] == environ["AWR_PUBLIC_URL"] + "/webhooks/ampeco"

        # Another command finds the store of the one that runs; a second one does not get it.
        listed = ran(
            "events", "list", "--limit", "5", "--json", tmp=tmp, AWR_DATA_DIR=environ["AWR_DATA_DIR"]
        )
        assert len(json.loads(listed.stdout)) == 5
        second = ran("run", tmp=tmp, **environ)
        assert second.process.returncode == 2
        assert second.stderr.count("\n") == 1
        assert "AWR_DATA_DIR" in second.stderr

        # Its store dies: it is started again, and the parts go on by themselves.
        os.kill(run.child("valkey-server unixsocket:"), signal.SIGKILL)
        run.says("store.ended")
        before = tenant.state()["delivered"]
        soon(lambda: tenant.state()["delivered"] > before + 20, every_s=0.2)

        run.says("session.finished")
        run.ask_to_end(signal.SIGTERM)
        assert run.ends() == 0
        run.leaves_nothing()
    events = [json.loads(line)["event"] for line in run.stderr.splitlines() if line.startswith("{")]
    assert events.index("endpoint.closed") < events.index("worker.stopped")
    assert tenant.state()["subscriptions"] == []  # ephemeral by default


def test_killed_it_takes_everything_along(tenant: Tenant, tmp: Path) -> None:
    with started("run", tmp=tmp, **configured(tenant.url, tmp, AWR_NOTIFICATIONS="cdr.received")) as run:
        soon(lambda: bool(tenant.state()["subscriptions"]), every_s=0.2)
        run.says("worker.started")
        assert len(run.running()) == 5  # itself, store and its watcher, worker, receiver
        run.kill()
        run.leaves_nothing()


@contextlib.contextmanager
def _somebody_elses(tmp: Path) -> Iterator[Mapping[str, str]]:
    """A log that belongs to another tenant."""
    with EmbeddedServer(tmp / "other") as server:
        with redis.Redis.from_url(server.url) as client:
            client.hset("awr:tenant", mapping={"url": "https://another", "lanes": "16"})
        yield {"AWR_REDIS_URL": server.url}


@contextlib.contextmanager
def _port_taken(tmp: Path) -> Iterator[Mapping[str, str]]:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        yield {"AWR_PORT": str(taken.getsockname()[1])}


@pytest.mark.parametrize(
    ("fault", "named"),
    [
        (lambda _: contextlib.nullcontext({"AWR_PUBLIC_ULR": "https://x"}), "AWR_PUBLIC_ULR"),
        (lambda _: contextlib.nullcontext({"AWR_API_TOKEN": ""}), "AWR_API_TOKEN"),
        (lambda _: contextlib.nullcontext({"AWR_DATA_DIR": "/proc/nowhere"}), "AWR_DATA_DIR"),
        (_somebody_elses, "AWR_TENANT_URL"),
    ],
    ids=["unknown name", "empty value", "no folder", "another's log"],
)
def test_a_fault_in_the_configuration_is_one_line(fault: Any, named: str, tmp: Path) -> None:
    with fault(tmp) as changes:
        run = ran("run", tmp=tmp, **configured("http://127.0.0.1:9", tmp, **changes))
    assert run.process.returncode == 2
    assert run.stdout == ""
    assert run.stderr.count("\n") == 1
    assert f"ampeco-receiver: {named}: " in run.stderr
    assert not run.running()


def test_a_part_that_refuses_its_configuration_ends_all(tmp: Path) -> None:
    with _port_taken(tmp) as changes:
        run = ran("run", tmp=tmp, **configured("http://127.0.0.1:9", tmp, **changes))
    assert run.process.returncode == 2
    assert run.stderr.count("ampeco-receiver: AWR_PORT: ") == 1
    assert not run.running()
