"""What the fixtures of the kit give; `pytest_ampeco` names them to pytest."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from ampeco.simulator.testing import Box, tenant_in_a_box
from eventlog.connection.embedded import EmbeddedServer
from handlers.testing.real_worker import RealWorker


@contextlib.contextmanager
def embedded_log(folder: Path) -> Iterator[str]:
    """An embedded Valkey as long as the block lasts; its URL."""
    with EmbeddedServer(folder) as server:
        yield server.url


@contextlib.contextmanager
def working(redis_url: str) -> Iterator[RealWorker]:
    """A worker on a log of its own, as long as the block lasts."""
    worker = RealWorker(redis_url)
    try:
        yield worker
    finally:
        worker.close()


@contextlib.contextmanager
def tenant() -> Iterator[Box]:
    """A pretend tenant that serves on a port."""
    with tenant_in_a_box() as box:
        yield box
