"""Fixtures of both clients. Properties have no deadline: a busy machine must not fail them."""

import pytest
from hypothesis import settings

from tests.unit.ampeco.scripted import Caller

settings.register_profile("no-deadline", deadline=None)
settings.load_profile("no-deadline")


@pytest.fixture(params=["async", "sync"])
def through(request: pytest.FixtureRequest) -> Caller:
    """Makes a call through the asynchronous client, then through the other."""
    return Caller(request.param)
