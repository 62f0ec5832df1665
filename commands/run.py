"""`run`: serve a real tenant on one machine with a receiver, a worker and, unless one is configured, a store.

It starts the parts, and stops them in the order receiver, worker, store.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NoReturn

import click

from commands import options, prepare

if TYPE_CHECKING:
    from eventlog.connection.embedded import EmbeddedServer
    from receiver.settings import Settings

_REDIS_URL = "AWR_REDIS_URL"
_REGISTER = "AWR_REGISTER"
_STORE_EXTRA = 'install "ampeco-receiver[demo]", which brings a Valkey, or set it'
_STORE_LOOK_S = 0.5


@click.command()
@options.load
def run(load: tuple[str, ...]) -> None:
    """Serve a real tenant on one machine.

    Runs a receiver, a worker and, unless AWR_REDIS_URL is set, a store in AWR_DATA_DIR. The notification
    subscription ends with this command, unless AWR_REGISTER says otherwise.
    """
    settings = prepare(defaults={_REGISTER: "ephemeral"})

    from receiver.claim import claim
    from receiver.settings import demand, given_values, serving_needs

    demand(settings, (name for name in serving_needs(settings) if name != _REDIS_URL))
    with _store(settings) as (url, server):
        ours = {_REDIS_URL: url, _REGISTER: settings.registration}
        given = given_values(os.environ)
        environ = {**os.environ, **{name: value for name, value in ours.items() if name not in given}}
        asyncio.run(claim(settings, url))
        code = asyncio.run(_run(environ, load, server))
    raise click.exceptions.Exit(code)


@contextlib.contextmanager
def _store(settings: Settings) -> Iterator[tuple[str, EmbeddedServer | None]]:
    """Yield the URL of the configured Redis, or of an embedded server that runs during the block."""
    from eventlog.connection.embedded import EmbeddedServer, EmbeddedServerError, server_binary
    from eventlog.durability import replicas_of
    from receiver.errors import SettingsError
    from receiver.settings_checks import data_folder

    if settings.redis_url is not None:
        yield settings.redis_url.get_secret_value(), None
        return
    if replicas_of(settings.durability):
        raise SettingsError(
            "AWR_DURABILITY",
            "asks for replicas, and the embedded store has none",
            f"use always, or set {_REDIS_URL}",
        )
    try:
        server_binary()
    except EmbeddedServerError:
        raise SettingsError(
            _REDIS_URL, "is not set, and no embedded Valkey is installed", _STORE_EXTRA
        ) from None
    server = EmbeddedServer(data_folder(settings), appendfsync=settings.durability)
    try:
        server.start()
    except EmbeddedServerError as error:
        raise SettingsError(
            "AWR_DATA_DIR", str(error), "stop what uses it, or choose a folder of this user"
        ) from error
    except OSError as error:
        raise SettingsError(
            "AWR_DATA_DIR", f"cannot be used ({error.strerror})", "choose a folder this user may write to"
        ) from error
    try:
        yield server.url, server
    finally:
        server.stop()


async def _run(environ: Mapping[str, str], load: Sequence[str], server: EmbeddedServer | None) -> int:
    """Run until a signal, or until a part refuses its configuration; return the exit code."""
    from commands.processes import own_command, stop_on_signals
    from workers.process.supervisor import Child, running

    stop = asyncio.Event()
    stop_on_signals(stop)
    loads = [part for name in load for part in ("--load", name)]
    # One admin port is enough, and the receiver has it.
    worker = Child(own_command("worker", "--child", *loads), environ, name="worker")
    receiver = Child(own_command("serve", "--child"), environ, name="serve")
    async with running(worker) as working, running(receiver) as serving:
        stopping = asyncio.create_task(stop.wait())
        watched = [stopping] if server is None else [stopping, asyncio.create_task(_keep_up(server))]
        await asyncio.wait([working, serving, *watched], return_when=asyncio.FIRST_COMPLETED)
        for task in watched:
            task.cancel()
    for result in await asyncio.gather(*watched, return_exceptions=True):
        if isinstance(result, Exception):
            raise click.ClickException(str(result))
    return max(working.result(), serving.result())


async def _keep_up(server: EmbeddedServer) -> NoReturn:
    """Start the store again when it dies; receiver and worker wait for it, as for any Redis that is away."""
    from receiver.logging import get_logger

    while True:
        await asyncio.sleep(_STORE_LOOK_S)
        if server.ended:
            get_logger(__name__).error("store.ended", start_again=True)
            server.stop()
            await asyncio.to_thread(server.start)
