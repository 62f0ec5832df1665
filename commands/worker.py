"""`worker`: run handlers. The parent has the admin port and supervises; the children do the work."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from ampeco.names import fault_of_queue
from commands import options, prepare
from commands.output import print_line
from commands.processes import child_option, own_command

if TYPE_CHECKING:
    from eventlog.log import EventLog
    from receiver.settings import Settings
    from workers.process.supervisor import Child


@click.command()
@click.option("--queue", default="default", show_default=True, help="The RQ queue to serve.")
@click.option(
    "--processes", default=1, show_default=True, type=click.IntRange(1, 64), help="Worker processes."
)
@options.load
@child_option
@click.option("--isolated", is_flag=True, hidden=True, help="The child for isolated handlers.")
@click.option("--error-text", is_flag=True, hidden=True, help="Show the text of exceptions: for `dev`.")
def worker(
    queue: str, processes: int, load: tuple[str, ...], child: bool, isolated: bool, error_text: bool
) -> None:
    """Run the handlers of the installed plugins."""
    if fault := fault_of_queue(queue):
        raise click.BadParameter(fault, param_hint="--queue")
    if queue.endswith(".isolated"):
        raise click.UsageError("--queue: the worker of the queue before .isolated serves both.")
    settings = prepare(need=("AWR_REDIS_URL",))
    if settings.registration != "off":
        from receiver.settings import demand

        demand(settings, ("AWR_TENANT_URL", "AWR_API_TOKEN"))
    if child:
        sys.exit(run_child(settings, queue, load, isolated=isolated, error_text=error_text))
    sys.exit(asyncio.run(_supervise(settings, _child_arguments(queue, load), processes)))


def _child_arguments(queue: str, load: tuple[str, ...]) -> list[str]:
    return ["worker", "--child", "--queue", queue, *(part for name in load for part in ("--load", name))]


def run_child(
    settings: Settings,
    queue: str,
    load: tuple[str, ...],
    *,
    isolated: bool = False,
    error_text: bool = False,
) -> int:
    """Run the worker in this process."""
    from commands.processes import beats, end_with_parent, keep_what_is_loaded, say_ready
    from handlers.declaration import HandlerError
    from receiver.claim import rules_of
    from workers.config import WorkerConfig
    from workers.process.isolated import IsolatedProcess
    from workers.process.worker import RECYCLED, WorkerProcess

    assert settings.redis_url is not None  # noqa: S101 - demanded above
    config = WorkerConfig(
        redis_url=settings.redis_url.get_secret_value(),
        prefix=settings.key_prefix,
        lanes=settings.lanes,
        queue=queue,
        tenant_url=settings.tenant_url,
        api_token=token_source(),
        rules_version=rules_of(settings).version,
        load=load,
        allow=settings.handlers_allow,
        strict=settings.plugins_strict,
        may_evict=settings.may_evict,
        ledger_days=settings.ledger_days,
        keep=settings.keep,
        isolated_command=own_command(
            *_child_arguments(queue, load), "--isolated", *(["--error-text"] if error_text else [])
        ),
        error_text=error_text,
        isolated_environ=os.environ,
        queue_of=settings.queues,
        catch_up_per_s=settings.catch_up_per_s,
        calls_per_s=settings.api_calls_per_s,
        loop_depth=settings.loop_depth,
        isolated_memory_mb=settings.isolated_memory_mb,
    )
    if isolated:
        isolated_process = IsolatedProcess(config, on_turn=beats())
        end_with_parent(also=isolated_process.deadline.start)
        return isolated_process.run()

    say: Callable[[bool], None] | None = None

    def ready(serves: bool) -> None:
        nonlocal say
        if say is None:
            keep_what_is_loaded()
            say = say_ready(serves=serves)
        else:
            say(serves)

    process = WorkerProcess(config, on_ready=ready)
    end_with_parent(also=process.deadline.start)
    try:
        code = process.run()
    except HandlerError as error:
        print_line(f"ampeco-receiver: {error}", err=True)
        return 2
    if code == RECYCLED:
        # A handler's thread never returned; a polite exit would wait for it.
        sys.stderr.flush()
        os._exit(code)
    return code


def token_source() -> Callable[[], str | None]:
    """Return a function that reads the API token again; None while the settings are refused, which is logged once."""
    from receiver.errors import SettingsError
    from receiver.logging import get_logger
    from receiver.settings import load as load_settings

    logged = ""

    def read() -> str | None:
        nonlocal logged
        try:
            secret = load_settings(os.environ).api_token
        except SettingsError as error:
            if str(error) != logged:
                logged = str(error)
                get_logger(__name__).error(
                    "settings.change_refused", setting=error.setting, fault=error.fault, fix=error.fix
                )
            return None
        logged = ""
        return secret.get_secret_value() if secret else None

    return read


async def _supervise(settings: Settings, arguments: list[str], processes: int) -> int:
    from commands.processes import PARENT_STOP_S, limit_stop, stop_on_signals
    from workers.process.deadline import Deadline
    from workers.process.supervisor import Child

    stop = asyncio.Event()
    stop_on_signals(stop)
    children = [Child(own_command(*arguments), os.environ, name="worker") for _ in range(processes)]
    running = [asyncio.create_task(child.keep_running(stop)) for child in children]
    admin = asyncio.create_task(_admin(settings, children, stop))
    limit_stop(stop, Deadline(idle_s=PARENT_STOP_S, at_work=lambda: any(child.pid for child in children)))
    code = 0
    for task in asyncio.as_completed([*running, admin]):
        code = max(code, await task)
        stop.set()
    return code


async def _faulty(log: EventLog, children: list[Child]) -> list[dict[str, Any]]:
    """Return what the processes of this worker cannot run, as their beats say."""
    import socket

    from commands.fault_words import fault_document
    from eventlog.handler_faults import faulty_by_name
    from eventlog.presence import present

    ours = {f"{socket.gethostname()}:{child.pid}" for child in children}
    found = faulty_by_name([process for process in await present(log) if process.label in ours])
    return [fault_document(faulty) for faulty in found.values()]


async def _admin(settings: Settings, children: list[Child], stop: asyncio.Event) -> int:
    """Health and metrics of this worker, until `stop`."""
    from prometheus_client import CollectorRegistry, Gauge, ProcessCollector, generate_latest
    from redis.exceptions import RedisError

    from commands.console_parts import console_of
    from eventlog.connection.connect import connect
    from eventlog.connection.reasons import FULL, reason_of
    from eventlog.log import EventLog
    from eventlog.readiness import ready_to_drain
    from receiver.app import create_admin_app
    from receiver.connections import Connections, limits_of
    from receiver.http_server import serve_until
    from receiver.metrics import REDIS_UP, ConnectionMetrics, LogExposition
    from receiver.sockets import listening

    assert settings.redis_url is not None  # noqa: S101
    redis = connect(settings.redis_url.get_secret_value(), max_connections=4)
    log = EventLog(redis, prefix=settings.key_prefix, lanes=settings.lanes)
    exposition = LogExposition(log)
    registry = CollectorRegistry()
    connections = Connections("admin", limits_of(settings), metrics=ConnectionMetrics(registry))
    redis_up = Gauge(*REDIS_UP, registry=registry)
    ProcessCollector(registry=registry)

    async def report() -> dict[str, Any]:
        reasons = []
        if any(child.serves_nothing for child in children):
            reasons.append("no-handlers")
        elif not all(child.ready.is_set() for child in children):
            reasons.append("worker-not-started")
        try:
            full = [] if await ready_to_drain(log) else [FULL]
            faulty = await _faulty(log, children)
        except (RedisError, OSError) as error:
            reasons.append(reason_of(error).slug)
            full, faulty = [], []
        said = {"ready": not reasons, "reasons": [*reasons, *full], "processes": len(children)}
        return {**said, "faulty": faulty}

    async def metrics() -> bytes:
        try:
            of_log, answers = await exposition(), 1
        except (RedisError, OSError):
            of_log, answers = b"", 0
        redis_up.set(answers)
        return of_log + generate_latest(registry)

    try:
        with listening(settings.admin_host, settings.admin_port, "AWR_ADMIN_PORT") as listener:
            async with console_of(settings, settings.redis_url.get_secret_value(), stop) as console:
                admin = create_admin_app(report, metrics, console)
                await serve_until(admin, listener, stop, connections)
    finally:
        await redis.aclose()
    return 0
