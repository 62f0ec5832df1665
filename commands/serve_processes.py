"""`serve --processes`: several serving processes behind one public port and one admin port.

The parent opens both ports, hands the public one down, keeps its children running, and answers the admin port for all
of them. It sees no request of a sender. The children accept from the same socket, so another child takes what a dead
one had not accepted yet. They report their health to the parent through unix sockets, and count in files. Both lie in
a folder that only this user may enter and that the parent removes.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
from prometheus_client import CollectorRegistry, generate_latest
from redis.exceptions import RedisError

from commands.child_metrics import ChildProcesses
from commands.console_parts import console_of
from commands.processes import PARENT_STOP_S, limit_stop, own_command, stop_on_signals
from commands.telemetry.start import exported
from eventlog.connection.connect import connect
from eventlog.log import EventLog
from receiver import shared_counts
from receiver.app import create_admin_app
from receiver.claim import claim
from receiver.connections import Connections, limits_of
from receiver.errors import SettingsError
from receiver.health import together
from receiver.http_server import serve_until
from receiver.metrics import LogExposition
from receiver.settings import Settings
from receiver.sockets import open_listeners
from workers.process.deadline import Deadline
from workers.process.supervisor import Child

ANSWER_S = 1.0

_MEND = "set it to a folder with a short name that this user may write to"


async def serve_together(settings: Settings, processes: int) -> int:
    """Serve until a signal (exit code 0), or until a child refuses its configuration (2).

    Raises:
        SettingsError: `--processes` does not go with a setting, or a port or the folder cannot be opened.
        LogMismatch: the log in this Redis belongs to another tenant or setting.
    """
    if settings.registration == "ephemeral":
        raise SettingsError(
            "AWR_REGISTER",
            "is ephemeral, where the first process to end would unsubscribe the others",
            "set it to auto or off, or leave --processes out",
        )
    assert settings.redis_url is not None  # noqa: S101 - demanded by `serve`
    stop = asyncio.Event()
    stop_on_signals(stop)
    limit_stop(stop, Deadline(idle_s=PARENT_STOP_S))
    await claim(settings, settings.redis_url.get_secret_value())
    with (
        open_listeners(settings, processes=processes) as (public, admin),
        _folder() as folder,
        contextlib.ExitStack() as opened,
    ):
        parts = [
            opened.enter_context(_part(f"serve-{number}", folder, public))
            for number in range(1, processes + 1)
        ]
        running = [asyncio.create_task(part.child.keep_running(stop)) for part in parts]
        # The children finish their requests. No new connection may queue at a port that is about to close.
        shutting = asyncio.create_task(stop.wait())
        shutting.add_done_callback(lambda _: public.close())
        all_ended = asyncio.Event()
        # The children count connections; a second count here would name the same metric twice.
        connections = Connections("admin", limits_of(settings))
        redis = connect(settings.redis_url.get_secret_value(), max_connections=2)
        log = EventLog(redis, prefix=settings.key_prefix, lanes=settings.lanes)
        exposition = _exposition(parts, folder, LogExposition(log, size=False), stop)
        opened.enter_context(exported(exposition))
        async with console_of(settings, settings.redis_url.get_secret_value(), stop) as console:
            app = create_admin_app(partial(_report, parts, stop), exposition, console)
            answering = asyncio.create_task(serve_until(app, admin, all_ended, connections))
            code = 0
            for task in asyncio.as_completed(running):
                code = max(code, await task)
                stop.set()
            all_ended.set()
            await answering
        await redis.aclose()
    return code


class _Part:
    """One of the children, and its report of itself."""

    def __init__(self, child: Child, path: str) -> None:
        self.child = child
        self._path = path

    async def report(self) -> dict[str, Any] | str:
        """Return the child's report of its readiness, or the reason why there is none."""
        if not self.child.ready.is_set():
            return "process-not-started"
        transport = httpx2.AsyncHTTPTransport(uds=self._path)
        try:
            async with httpx2.AsyncClient(transport=transport, timeout=ANSWER_S) as client:
                found: dict[str, Any] = (await client.get("http://child/health/ready")).json()
        except (httpx2.HTTPError, ValueError):
            return "process-not-answering"
        return found


@contextlib.contextmanager
def _part(name: str, folder: Path, public: socket.socket) -> Iterator[_Part]:
    """Return a child that is not running yet, with the socket at which it will answer us."""
    path = str(folder / f"{name}.sock")
    with socket.socket(socket.AF_UNIX) as inner:
        try:
            inner.bind(path)
        except OSError as error:
            raise SettingsError("TMPDIR", f"no unix socket can be made in it ({error})", _MEND) from None
        inner.listen()
        fds = (public.fileno(), inner.fileno())
        child = Child(
            own_command("serve", "--child", "--share", name, *map(str, fds)),
            {**os.environ, shared_counts.FOLDER: str(folder)},
            name=name,
            shared_fds=fds,
            on_end=lambda: shared_counts.ended(str(folder), name),
        )
        yield _Part(child, path)


async def _report(parts: list[_Part], stop: asyncio.Event) -> dict[str, Any]:
    """Return the merged reports of the children's readiness."""
    if stop.is_set():
        return together([], ["stopping"] * len(parts))
    found = await asyncio.gather(*(part.report() for part in parts))
    return together(
        [one for one in found if isinstance(one, dict)], [one for one in found if isinstance(one, str)]
    )


def _exposition(
    parts: list[_Part], folder: Path, of_log: LogExposition, stop: asyncio.Event
) -> Callable[[], Awaitable[bytes]]:
    """Return a function that returns the metrics of all children and of the log."""
    registry = CollectorRegistry()
    registry.register(ChildProcesses(lambda: {part.child.name: part.child.pid for part in parts}))

    async def exposition() -> bytes:
        try:
            found = await of_log()
        except (RedisError, OSError):
            found = b""
        ready = (await _report(parts, stop))["ready"]
        counted = shared_counts.exposition(str(folder), ready=ready, redis_up=bool(found))
        return found + counted + generate_latest(registry)

    return exposition


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    """Make a folder for this user alone during the block."""
    try:
        made = tempfile.TemporaryDirectory(prefix="ampeco-receiver-", ignore_cleanup_errors=True)
    except OSError as error:
        raise SettingsError("TMPDIR", f"no folder can be made in it ({error.strerror})", _MEND) from None
    with made as name:
        yield Path(name)
