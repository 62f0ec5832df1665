"""The fixture `tenant_in_a_box`, enabled by `pytest_plugins = ["ampeco.simulator.pytest_plugin"]`."""

from collections.abc import Iterator

import pytest

from ampeco.simulator import testing


@pytest.fixture
def tenant_in_a_box() -> Iterator[testing.Box]:
    """Start a simulator without subscriptions, a fresh one for each test."""
    with testing.tenant_in_a_box() as box:
        yield box
