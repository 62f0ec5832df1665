"""A handler that does nothing, for `worker --load`. Every run gives it a new name, and so a new cursor."""

import os

from ampeco.notifications import SessionMeterValues
from handlers import Context, Event, handler

NAME = "BENCHMARK_HANDLER"


@handler(os.environ.get(NAME, "noop"), start="oldest")
async def noop(event: Event[SessionMeterValues], ctx: Context) -> None:
    """Nothing to do."""
