"""Many handlers that do nothing, for `worker --load` (their names in `BENCHMARK_MANY`), and one that is busy."""

import os
import time

from ampeco.notifications import SessionMeterValues
from handlers import Context, Event, handler

MANY = "BENCHMARK_MANY"
BUSY = "busy"


async def _noop(event: Event[SessionMeterValues], ctx: Context) -> None:
    """Do nothing."""


for _name in os.environ.get(MANY, "").split(","):
    if _name:
        globals()[_name.replace("-", "_")] = handler(_name, start="oldest")(_noop)


@handler(BUSY, start="oldest")
async def busy(event: Event[SessionMeterValues], ctx: Context) -> None:
    """Use 1 ms of processor time."""
    until_s = time.thread_time() + 0.001
    while time.thread_time() < until_s:
        pass
