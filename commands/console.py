"""`console`: the pages for operators, alone. Elsewhere they are under `/console` on the admin port."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import click

from commands import prepare, store_url
from commands.output import print_line
from commands.processes import (
    PARENT_STOP_S,
    child_option,
    end_with_parent,
    limit_stop,
    say_ready,
    stop_on_signals,
)
from workers.process.deadline import Deadline

if TYPE_CHECKING:
    from receiver.settings import Settings


@click.command()
@child_option
def console(child: bool) -> None:
    """Serve the pages for operators, alone.

    They are at /console on AWR_ADMIN_HOST and AWR_ADMIN_PORT, until Ctrl-C. `serve`, `worker` and `run` have the same
    pages on their admin port. Reading needs no log-in, so keep the port inside your network. AWR_CONSOLE_TOKEN lets
    the pages change things, AWR_CONSOLE_BODIES_TOKEN lets them show bodies. Behind a
    proxy, AWR_CONSOLE_HOSTS has the name in their address.
    """
    settings = prepare()
    if child:
        end_with_parent()
    asyncio.run(_serve(settings, store_url(settings), child=child))


async def _serve(settings: Settings, redis_url: str, *, child: bool) -> None:
    from commands.console_parts import console_of
    from console.application import MOUNTED_AT, alone
    from receiver.connections import Connections, limits_of
    from receiver.http_server import serve_until
    from receiver.sockets import listening

    stop = asyncio.Event()
    stop_on_signals(stop, insist=not child)
    limit_stop(stop, Deadline(idle_s=PARENT_STOP_S))
    with listening(settings.admin_host, settings.admin_port, "AWR_ADMIN_PORT") as listener:
        host = f"[{settings.admin_host}]" if ":" in settings.admin_host else settings.admin_host
        print_line(f"http://{host}:{listener.getsockname()[1]}{MOUNTED_AT}/")
        say_ready()
        async with console_of(settings, redis_url, stop) as pages:
            await serve_until(alone(pages), listener, stop, Connections("admin", limits_of(settings)))
