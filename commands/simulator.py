"""`simulator`: a simulated tenant on a port of its own, and notifications sent by hand.

Every program that reaches the port may control the simulation. Its token comes from a file or the environment, never
from the command line, which every user of the machine can read.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ampeco import key_text
from ampeco.simulator.fleet.scenario_files import ScenarioError, load, load_file, names
from commands.options import Finite
from commands.output import print_json, print_line
from commands.processes import child_option, end_with_parent, say_ready, stop_on_signals
from commands.sample_bodies import PathError, change, charge_point_of
from commands.token_file import read_token
from commands.type_names import misspelled

if TYPE_CHECKING:
    from ampeco.simulator.tenant import Tenant

PORT = 8090
TOKEN = "simulated-tenant-token"  # noqa: S105 - known to everybody
TOKEN_VARIABLE = "SIMULATOR_TOKEN"  # noqa: S105 - its name
DEFAULT_SCENARIO = "default"


@click.group(invoke_without_command=True)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to serve on.")
@click.option(
    "--port", default=PORT, show_default=True, type=click.IntRange(0, 65535), help="0 = a free one."
)
@click.option(
    "--token-file",
    metavar="FILE",
    help=f"File with the API token that it knows; - is standard input. [default: ${TOKEN_VARIABLE}, else {TOKEN}]",
)
@click.option("--token", hidden=True, help="Refused.")
@click.option(
    "--allow-host",
    "hosts",
    metavar="NAME",
    multiple=True,
    help="A name under which its control endpoints may be reached, in addition to localhost and IP addresses.",
)
@click.option(
    "--scenario",
    metavar="NAME|FILE",
    help=f"Let charge points live: a TOML file, or one of {', '.join([DEFAULT_SCENARIO, *names()])}.",
)
@click.option(
    "--retry-pause",
    "retry_pauses_s",
    metavar="SECONDS",
    multiple=True,
    type=Finite(0),
    help="Pause before each further attempt; give it several times. After the last the delivery is given up. "
    "[default: as in the scenario, else 1, 5, 30, 120]",
)
@click.option(
    "--resend-every",
    "resend_every_s",
    metavar="SECONDS",
    type=Finite(0),
    help="How often Resend Failed Notifications is accepted. [default: as in the scenario, else 900]",
)
@child_option
@click.pass_context
def simulator(
    ctx: click.Context,
    host: str,
    port: int,
    token_file: str | None,
    token: str | None,
    hosts: tuple[str, ...],
    scenario: str | None,
    retry_pauses_s: tuple[float, ...],
    resend_every_s: float | None,
    child: bool,
) -> None:
    """Serve a tenant in a box.

    It takes notification subscriptions and actions, and sends signed notifications.
    """
    if ctx.invoked_subcommand is not None:
        return
    from ampeco.simulator.switches import Habits
    from ampeco.simulator.tenant import Tenant
    from ampeco.simulator.validation import read_habits
    from commands.simulator_control import SimulatorControl
    from receiver import logging

    logging.configure()
    if token is not None:
        fault = f"other users could read it in the list of processes; use --token-file or ${TOKEN_VARIABLE}"
        raise click.BadParameter(fault, param_hint="--token")
    known = _token(token_file)
    plan = None if scenario is None else _plan(scenario)
    given = {"retry_pauses_s": list(retry_pauses_s) or None, "resend_every_s": resend_every_s}
    wished = {**(plan or {}).get("habits", {}), **{k: v for k, v in given.items() if v is not None}}
    if plan is not None:
        plan["habits"] = wished
    habits = read_habits(wished, Habits())
    if child:
        end_with_parent()

    async def ready(url: str) -> None:
        if plan is not None:
            async with SimulatorControl(url) as control:
                await control.start(plan)
        if child:
            say_ready()
        else:
            _introduce(url, known)

    try:
        asyncio.run(_serve(Tenant([known], habits=habits), host, port, hosts, ready))
    except (OSError, UnicodeError) as error:
        if isinstance(error, UnicodeError | socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
            raise click.BadParameter("is not an address of this machine", param_hint="--host") from None
        fault = f"{host}:{port} cannot be opened ({error.strerror}); free it or choose another"
        raise click.BadParameter(fault, param_hint="--port") from None


def _token(file: str | None) -> str:
    """Return the token of the file, else of the environment, else the usual one."""
    if file is None:
        hint, token = TOKEN_VARIABLE, os.environ.get(TOKEN_VARIABLE, TOKEN)
    else:
        hint = "--token-file"
        try:
            token = read_token(file)
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or "no name of a file"
            raise click.BadParameter(f"cannot be read ({why})", param_hint=hint) from None
    if (fault := key_text.fault_of(token)) is not None:
        raise click.BadParameter(f"the token {fault}", param_hint=hint)
    return token


async def _serve(
    tenant: Tenant, host: str, port: int, hosts: Sequence[str], ready: Callable[[str], Awaitable[None]]
) -> None:
    from ampeco.simulator.server import serving

    stop = asyncio.Event()
    stop_on_signals(stop, insist=False)
    async with serving(tenant, host, port, hosts=hosts) as url:
        await ready(url)
        await stop.wait()


def _plan(scenario: str) -> dict[str, Any]:
    """The plan of a name or of a file, checked by the simulator's own rules."""
    if scenario == DEFAULT_SCENARIO:
        return {}
    by_name = scenario in names() or not ("/" in scenario or Path(scenario).exists() or "." in scenario)
    try:
        return load(scenario) if by_name else load_file(Path(scenario))
    except ScenarioError as error:
        raise click.BadParameter(error.message, param_hint="--scenario") from None


def _introduce(url: str, token: str) -> None:
    shown = token if token == TOKEN else "the one that it was given"
    click.echo(f"The simulator is at {url}, its API token is {shown}. Ctrl-C ends it.")
    click.echo("Point a receiver at it:")
    click.echo(f"  AWR_TENANT_URL={url} AWR_API_TOKEN={shown if token == TOKEN else '...'} \\")
    click.echo("  AWR_PUBLIC_URL=http://127.0.0.1:8080 ampeco-receiver run")
    click.echo("Let charge points live, or send one notification by hand:")
    click.echo(f"  curl --json '{{}}' {url}/simulator/start")
    click.echo(f"  ampeco-receiver simulator send HardwareStatusNotification --url {url}")
    click.echo(f"What it sent and which actions were called: {url}/simulator/state")


@simulator.command()
@click.argument("notification", metavar="TYPE")
@click.option("--set", "changes", metavar="PATH=VALUE", multiple=True, help="Change a field of the payload.")
@click.option("--url", default=f"http://127.0.0.1:{PORT}", show_default=True, help="Where the simulator is.")
@click.option("--show", is_flag=True, help="Print the payload as well.")
def send(notification: str, changes: tuple[str, ...], url: str, show: bool) -> None:
    """Let a running simulator send one notification.

    The payload names a charge point, a session and a user that the simulator's API knows.
    """
    from commands.simulator_control import SimulatorControl

    async def post() -> tuple[dict[str, Any], int]:
        async with SimulatorControl(url) as control:
            body = await control.sample(notification)
            change(body, changes)
            return body, await control.send(notification, body, charge_point_of(body))

    try:
        body, made = asyncio.run(post())
    except PathError as error:
        raise click.BadParameter(str(error), param_hint="--set") from None
    if show:
        print_json(body)
    if not made:
        raise click.ClickException(
            f"no notification subscription includes {notification}, so nothing was sent{misspelled(notification)}"
        )
    print_line(f"{notification} is on its way to {made} notification subscription(s)")
