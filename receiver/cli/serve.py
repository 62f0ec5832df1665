"""`serve`: the HTTP side alone, for production."""

from __future__ import annotations

import asyncio
import os

import click

from receiver.cli import prepare
from receiver.cli.processes import child_option, end_with_parent, keep_what_is_loaded, say_ready


@click.command()
@child_option
def serve(child: bool) -> None:
    """Serve the webhook: verify, append to the log, keep the registration right."""
    settings = prepare()
    if child:
        end_with_parent()

    import uvloop

    from receiver.serve import Receiver, stop_on_signals
    from receiver.settings import demand, load, serving_needs

    demand(settings, serving_needs(settings))

    async def run() -> None:
        stop = asyncio.Event()
        stop_on_signals(stop)
        await Receiver(settings, reload=lambda: load(os.environ)).run(stop, on_open=say_ready)

    keep_what_is_loaded()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())
