"""`simulator`: a simulated tenant on a port of its own, and notifications sent by hand.

Its token is not secret: anyone who reaches the port may control the simulation.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ampeco.simulator.fleet.scenario_files import ScenarioError, load, load_file, names
from commands.output import print_json, print_line
from commands.processes import child_option, end_with_parent, say_ready, stop_on_signals
from commands.sample_bodies import PathError, change, charge_point_of

if TYPE_CHECKING:
    from ampeco.simulator.tenant import Tenant

PORT = 8090
TOKEN = "demo-token"  # noqa: S105 - of a simulated tenant
DEFAULT_SCENARIO = "default"


@click.group(invoke_without_command=True)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to serve on.")
@click.option(
    "--port", default=PORT, show_default=True, type=click.IntRange(0, 65535), help="0 = a free one."
)
@click.option("--token", default=TOKEN, show_default=True, help="The API token it knows.")
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
    type=click.FloatRange(0),
    help="Pause before each further attempt; give it several times. After the last the delivery is given up. "
    "[default: as in the scenario, else 1, 5, 30, 120]",
)
@click.option(
    "--resend-every",
    "resend_every_s",
    metavar="SECONDS",
    type=click.FloatRange(0),
    help="How often Resend Failed Notifications is accepted. [default: as in the scenario, else 900]",
)
@child_option
@click.pass_context
def simulator(
    ctx: click.Context,
    host: str,
    port: int,
    token: str,
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
    if not token.isascii() or not token.isprintable() or " " in token or not token:
        raise click.BadParameter("must be printable ASCII without blanks", param_hint="--token")
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
            _introduce(url, token)

    try:
        asyncio.run(_serve(Tenant([token], habits=habits), host, port, ready))
    except OSError as error:
        fault = f"{host}:{port} cannot be opened ({error.strerror}); free it or choose another"
        raise click.BadParameter(fault, param_hint="--port") from None


async def _serve(tenant: Tenant, host: str, port: int, ready: Callable[[str], Awaitable[None]]) -> None:
    from ampeco.simulator.server import serving

    stop = asyncio.Event()
    stop_on_signals(stop, insist=False)
    async with serving(tenant, host, port) as url:
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
    click.echo(f"The simulator is at {url}, its API token is {token}. Ctrl-C ends it.")
    click.echo("Point a receiver at it:")
    click.echo(f"  AWR_TENANT_URL={url} AWR_API_TOKEN={token} \\")
    click.echo("  AWR_PUBLIC_URL=http://127.0.0.1:8080 ampeco-receiver run")
    click.echo("Let charge points live, or send one notification by hand:")
    click.echo(f"  curl -X POST {url}/simulator/start")
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
            f"no notification subscription includes {notification}, so nothing was sent"
        )
    print_line(f"{notification} is on its way to {made} notification subscription(s)")
