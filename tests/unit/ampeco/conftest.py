"""Fixtures of both clients."""

import pytest

from tests.unit.ampeco.scripted import Caller


@pytest.fixture(params=["async", "sync"])
def through(request: pytest.FixtureRequest) -> Caller:
    """Makes a call through the asynchronous client, then through the other."""
    return Caller(request.param)
