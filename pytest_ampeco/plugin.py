"""The fixtures of the test kit, registered with pytest by entry point.

pytest imports this module at every start in an environment that has this distribution, for projects that never use
it, too. So it imports nothing of ours at its top.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from ampeco.simulator.testing import Box
    from handlers.testing import FakeAmpeco, Memory
    from handlers.testing.real_worker import RealWorker


@pytest.fixture
def fake_ampeco(handler_memory: Memory) -> FakeAmpeco:
    """A pretend tenant in memory; its clock is that of `handler_memory`."""
    from handlers.testing import FakeAmpeco

    return FakeAmpeco(clock=handler_memory.clock)


@pytest.fixture
def handler_memory() -> Memory:
    """What deliveries of one test know of each other: once-only steps, attempts, and a clock that can be moved."""
    from handlers.testing import Memory

    return Memory()


@pytest.fixture
def ampeco_tenant() -> Iterator[Box]:
    """A pretend tenant that serves on a port, with objects as `ampeco_tenant.seed(...)` makes them."""
    from handlers.testing import fixtures

    with fixtures.tenant() as box:
        yield box


@pytest.fixture(scope="session")
def _log_of_the_kit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    from handlers.testing import fixtures

    with fixtures.embedded_log(tmp_path_factory.mktemp("log")) as url:
        yield url


@pytest.fixture
def real_worker(_log_of_the_kit: str) -> Iterator[RealWorker]:
    """A real log in an embedded Valkey, with a worker on it."""
    from handlers.testing import fixtures

    with fixtures.working(_log_of_the_kit) as worker:
        yield worker
