"""The fixtures of the kit as context managers; `pytest_ampeco` registers them with pytest."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from ampeco.simulator.testing import Box, tenant_in_a_box
from eventlog.connection.embedded import EmbeddedServer
from handlers.testing.real_worker import RealWorker


@contextlib.contextmanager
def embedded_log(folder: Path) -> Iterator[str]:
    """Run an embedded Valkey during the block; yield its URL."""
    with EmbeddedServer(folder) as server:
        yield server.url


@contextlib.contextmanager
def working(redis_url: str) -> Iterator[RealWorker]:
    """Run a worker on a log of its own during the block."""
    worker = RealWorker(redis_url)
    try:
        yield worker
    finally:
        worker.close()


@contextlib.contextmanager
def tenant() -> Iterator[Box]:
    """Run a pretend tenant that serves on a port."""
    with tenant_in_a_box() as box:
        yield box
