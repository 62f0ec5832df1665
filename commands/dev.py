"""`dev`: run handler files against a simulated tenant, and reload them when they change.

It needs no tenant, no Redis and no packaging. When a file changes, the worker restarts. Events that are not
handled yet wait in the log.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import click

from ampeco.simulator.fleet.announcements import ANNOUNCED
from commands.child_output import lines_to
from commands.demo_stack import DemoStack, demo_stack, scratch
from commands.dev_events import SenderByHand, keys
from commands.dev_view import DevView
from commands.options import Finite
from commands.processes import until_signal
from commands.type_names import misspelled
from receiver.errors import SettingsError
from receiver.subscribed_types import subscribable
from workers.process.supervisor import Child, running

_LOOK_EVERY_S = 0.3


def _python_files(ctx: click.Context, parameter: click.Parameter, files: Sequence[Path]) -> Sequence[Path]:
    for file in files:
        if file.suffix != ".py":
            raise click.BadParameter(f"{file} is not a Python file (.py)")
    return files


@click.command()
@click.argument(
    "files",
    nargs=-1,
    required=True,
    metavar="FILE...",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    callback=_python_files,
)
@click.option(
    "--charge-points",
    default=5,
    show_default=True,
    type=click.IntRange(1, 10_000),
    help="Number of charge points.",
)
@click.option(
    "--rate",
    default=2.0,
    show_default=True,
    type=Finite(0.01, 1_000),
    help="Notifications per second.",
)
@click.option(
    "--event",
    "events",
    multiple=True,
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Send this JSON body, now and whenever a file changes, instead of charge points.",
)
def dev(files: tuple[Path, ...], charge_points: int, rate: float, events: tuple[Path, ...]) -> None:
    """Try handler files against a simulated tenant.

    The worker reloads files when they change, and prints each outcome as one line. The key `r` sends the event that a
    handler had last once more.
    """
    if os.environ.get("AWR_REDIS_URL"):
        raise SettingsError(
            "AWR_REDIS_URL",
            "is set, and `dev` has a store of its own",
            "unset it, or use `run` with your Redis",
        )
    plan: dict[str, object] | None = None if events else {"charge_points": charge_points, "rate": rate}
    with scratch("dev") as folder, contextlib.suppress(asyncio.CancelledError):
        asyncio.run(until_signal(_tell(files, events, plan, folder)))


async def _tell(
    files: Sequence[Path], events: Sequence[Path], plan: dict[str, object] | None, folder: Path
) -> None:
    view = DevView()
    async with (
        demo_stack(folder) as play,
        lines_to(folder / "worker.log", view.line) as worker,
        lines_to(folder / "receiver.log", lambda _: None) as receiver,
    ):
        view.say(f"the simulator runs at {play.tenant.url}; Ctrl-C ends everything")
        view.say(f"one by hand: ampeco-receiver simulator send TYPE --url {play.tenant.url}")
        sender, opened = SenderByHand(play, view, events), asyncio.Event()
        opening = asyncio.create_task(_open(play, plan, receiver, opened))

        async def when_ready() -> None:
            if plan is not None:
                await _hint(play, view)
            else:
                await opened.wait()
                await sender.send_files()

        try:
            with keys(lambda key: sender.repeat() if key == "r" else None) as keyboard:
                if keyboard:
                    view.say("the key r sends the last event once more")
                while True:
                    child = play.worker(
                        [str(file) for file in files],
                        output=worker,
                        options=("--error-text",),
                        AWR_LOG_LEVEL="debug",
                    )
                    async with running(child):
                        await _until_changed([*files, *events], child, opening, when_ready)
                    view.say("a file has changed: loading again")
        finally:
            opening.cancel()
            await asyncio.gather(opening, return_exceptions=True)


async def _open(play: DemoStack, plan: dict[str, object] | None, output: int, opened: asyncio.Event) -> None:
    async with play.open_receiver(output=output):
        opened.set()
        if plan is not None:
            await play.tenant.start(plan)
        await asyncio.Event().wait()


async def _until_changed(
    files: Sequence[Path],
    child: Child,
    opening: asyncio.Task[None],
    when_ready: Callable[[], Awaitable[None]],
) -> None:
    before, hinted = _stamps(files), False
    while True:
        await asyncio.sleep(_LOOK_EVERY_S)
        if opening.done():
            opening.result()
        if child.ready.is_set() and not hinted:
            hinted = True
            await when_ready()
        # An editor may replace the file: then it is missing for a moment.
        if any(now not in (None, then) for now, then in zip(_stamps(files), before, strict=True)):
            return


def _stamps(files: Sequence[Path]) -> list[int | None]:
    """Return when each file was last changed; None for a missing file."""
    return [file.stat().st_mtime_ns if file.exists() else None for file in files]


async def _hint(play: DemoStack, view: DevView) -> None:
    """Print a note when the charge points send none of the wanted types by themselves."""
    wanted = subscribable(await play.log.wanted_types())
    for name in sorted(wanted):
        if meant := misspelled(name, surely=True):
            view.say(f"a handler wants the unknown type {name!r}{meant}")
    if wanted and not wanted & ANNOUNCED:
        view.say(f"charge points do not send {', '.join(sorted(wanted))} by themselves; send one by hand")
