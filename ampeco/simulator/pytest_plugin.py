"""The fixture `tenant_in_a_box`, for tests that say `pytest_plugins = ["ampeco.simulator.pytest_plugin"]`."""

from collections.abc import Iterator

import pytest

from ampeco.simulator import testing


@pytest.fixture
def tenant_in_a_box() -> Iterator[testing.Box]:
    """A running simulator without a subscription; a fresh one for each test."""
    with testing.tenant_in_a_box() as box:
        yield box
