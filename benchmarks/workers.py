"""Our worker process with the handlers of `bench_handlers.py`, on the measured core."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from benchmarks import machine
from benchmarks.bench_handlers import FAILING_SESSION, NOOP, SLEEPER

__all__ = ["FAILING_SESSION", "NOOP", "SLEEPER", "at_work"]


@contextmanager
def at_work(
    redis_url: str, prefix: str, names: Mapping[str, str], environ: Mapping[str, str] | None = None
) -> Iterator[None]:
    """Run a worker with some of the handlers inside the block.

    Args:
        names: which handlers (`NOOP`, `SLEEPER`), and what each is called this time: a new name is a new cursor.
    """
    settings = {
        "AWR_REDIS_URL": redis_url,
        "AWR_REGISTER": "off",
        "AWR_KEY_PREFIX": prefix,
        "AWR_HANDLERS_ALLOW": ",".join(names.values()),
        "AWR_PLUGINS_STRICT": "true",
        "AWR_LOG_LEVEL": "error",
        **names,
        **(environ or {}),
    }
    file = Path(__file__).with_name("bench_handlers.py")
    with machine.measured(["commands", "worker", "--child", "--load", str(file)], settings):
        yield
