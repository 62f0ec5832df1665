"""`demo`: runs the story, then prints its result and whether the numbers add up.

Everything lives in one temporary folder, which is kept when something failed.
"""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import click
from redis.exceptions import RedisError

from commands.demo_counts import Tally, shortfalls
from commands.demo_stack import Stuck, scratch
from commands.demo_story import HANDLERS, Plan, Story
from commands.demo_view import shown, summary
from commands.options import Finite
from commands.processes import until_signal
from receiver.errors import Unreachable

_INTERRUPTED = 130


@click.command()
@click.option(
    "--seconds",
    default=20,
    show_default=True,
    type=click.IntRange(5, 86_400),
    help="How long the charge points are at work.",
)
@click.option(
    "--charge-points",
    default=20,
    show_default=True,
    type=click.IntRange(1, 100_000),
    help="How many there are.",
)
@click.option(
    "--rate",
    default=50.0,
    show_default=True,
    type=Finite(1, 100_000),
    help="Notifications per second.",
)
@click.option("--keep", is_flag=True, help="Keep everything open after the end, until Ctrl-C.")
def demo(seconds: int, charge_points: int, rate: float, keep: bool) -> None:
    """Show everything at work on this machine.

    Charge points of a simulated tenant send signed notifications; a receiver takes them into a log, and a worker
    runs handlers on them. Prints the address of the console. Ends with a summary, and with 0 only if every accepted
    event was handled.
    """
    with scratch("demo") as folder:
        code = asyncio.run(_run(Plan(seconds, charge_points, rate), folder, keep=keep))
        if code == 1:
            raise click.exceptions.Exit(1)
    raise click.exceptions.Exit(code)


async def _run(plan: Plan, folder: Path, *, keep: bool) -> int:
    """Run the story until its end or a signal; return the exit code."""
    code = _INTERRUPTED

    async def tell(screen: contextlib.ExitStack) -> None:
        nonlocal code
        story = Story(plan, folder, view)
        async with story.played() as tally:
            screen.close()
            code = _verdict(tally)
            if keep:
                click.echo(f"Nothing more is sent. The console stays at {story.console_url} until Ctrl-C.")
                await asyncio.Event().wait()

    try:
        with contextlib.ExitStack() as screen:
            view = screen.enter_context(shown())
            await until_signal(tell(screen), lambda: view.say("interrupted; everything is being ended"))
    except asyncio.CancelledError:
        return code
    except (Stuck, Unreachable, RedisError) as error:
        click.echo(f"\n{click.style('The demo failed', fg='red')}: {error}", err=True)
        return 1
    return code


def _verdict(tally: Tally) -> int:
    """Print the summary, and whether it adds up; return the exit code."""
    for line in summary(tally):
        click.echo(line)
    missing = shortfalls(tally, HANDLERS)
    if not missing:
        verdict = "Everything that was sent has arrived, and every handler has handled all it wants."
        click.echo(click.style(verdict, fg="green"))
        return 0
    click.echo(click.style("It does not add up:", fg="red"))
    for line in missing:
        click.echo(f"  {line}")
    return 1
