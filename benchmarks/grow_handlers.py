"""Many handlers that do nothing, for `worker --load`: the names in `BENCHMARK_MANY`, separated by commas."""

import os

from ampeco.notifications import SessionMeterValues
from handlers import Context, Event, handler

MANY = "BENCHMARK_MANY"


async def _noop(event: Event[SessionMeterValues], ctx: Context) -> None:
    """Do nothing."""


for _name in os.environ.get(MANY, "").split(","):
    if _name:
        globals()[_name.replace("-", "_")] = handler(_name, start="oldest")(_noop)
