"""The stand-in for a tenant, and a client of it that does not wait."""

from __future__ import annotations

from collections.abc import Iterator

import httpx2
import pytest

from ampeco.client import Client
from tests.contract.vendor_stand_in import TOKEN, StandIn


@pytest.fixture
def stand_in() -> StandIn:
    return StandIn()


@pytest.fixture
def client(stand_in: StandIn) -> Iterator[Client]:
    transport = httpx2.MockTransport(stand_in)
    with Client("https://t.example", TOKEN, transport=transport, sleep=lambda _: None) as made:
        yield made
