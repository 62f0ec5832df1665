"""`serve`: the HTTP side alone, for production. One process, or a parent and several behind the same port."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sys
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import click

from commands import prepare
from commands.processes import (
    SERVE_STOP_S,
    child_option,
    end_with_parent,
    keep_what_is_loaded,
    limit_stop,
    say_ready,
    stop_on_signals,
)
from workers.process.deadline import Deadline

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from receiver.settings import Settings
    from receiver.sockets import Listeners


@click.command()
@click.option(
    "--processes", default=1, show_default=True, type=click.IntRange(1, 64), help="Serving processes."
)
@child_option
@click.option(
    "--share",
    type=(str, int, int),
    hidden=True,
    help="With --child: its name among its siblings, and the file descriptors of its public and admin socket.",
)
def serve(processes: int, child: bool, share: tuple[str, int, int] | None) -> None:
    """Serve the webhook: verify, append to the log, keep the registration right."""
    settings = prepare()

    from receiver.settings import demand, serving_needs

    demand(settings, serving_needs(settings))
    if processes > 1:
        from commands.serve_processes import serve_together

        sys.exit(asyncio.run(serve_together(settings, processes)))
    deadline = Deadline(idle_s=SERVE_STOP_S)
    if share is not None:
        _serve(settings, deadline, child=True, listeners=_shared(*share, deadline))
    else:
        if child:
            end_with_parent(also=deadline.start)
        _serve(settings, deadline, child=child)


def _shared(name: str, public_fd: int, admin_fd: int, deadline: Deadline) -> Listeners:
    """Become one of several: in what is logged, in what is counted, and at which sockets."""
    from structlog.contextvars import bind_contextvars

    from receiver.shared_counts import FOLDER, count_into
    from receiver.sockets import inherited_listeners

    bind_contextvars(process=name)
    count_into(name)

    def orphaned() -> None:
        deadline.start()
        # A parent that was killed could not remove it; what is open in it stays usable.
        shutil.rmtree(os.environ[FOLDER], ignore_errors=True)

    end_with_parent(also=orphaned)
    return inherited_listeners(public_fd, admin_fd)


def _serve(
    settings: Settings, deadline: Deadline, *, child: bool, listeners: Listeners | None = None
) -> None:
    import uvloop

    from commands.telemetry.start import exported, tracer
    from receiver.serve import Receiver
    from receiver.settings import load

    tracing = tracer()

    async def run() -> None:
        stop = asyncio.Event()
        stop_on_signals(stop, insist=not child)
        limit_stop(stop, deadline)
        async with _console(settings, stop, shared=listeners is not None) as console:
            receiver = Receiver(settings, reload=lambda: load(os.environ), tracing=tracing, console=console)
            with exported(receiver.exposition) if listeners is None else contextlib.nullcontext():
                await receiver.run(stop, on_open=say_ready, listeners=listeners)

    keep_what_is_loaded()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())
    if tracing is not None:
        tracing.close()


@contextlib.asynccontextmanager
async def _console(settings: Settings, stop: asyncio.Event, *, shared: bool) -> AsyncIterator[ASGIApp | None]:
    """Make the console, unless the parent process has it for all of its children."""
    if shared:
        yield None
        return
    from commands.console_parts import console_of

    assert settings.redis_url is not None  # noqa: S101 - demanded above
    async with console_of(settings, settings.redis_url.get_secret_value(), stop) as console:
        yield console
