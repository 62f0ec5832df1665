"""Logs to check against, and a server that may be harmed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from eventlog.connection.embedded import EmbeddedServer
from eventlog.log import EventLog
from tests.harness import opened

Check = Callable[[EventLog], Awaitable[None]]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedServer]:
    """A server that may be harmed."""
    with EmbeddedServer(tmp_path / "valkey") as running:
        yield running


@pytest.fixture
def with_lane(valkey, prefix) -> Callable[[Check], None]:
    """Run a check against a log of one lane."""

    def run(check: Check) -> None:
        async def opened_and_checked() -> None:
            async with opened(valkey.url, prefix, lanes=1) as log:
                await check(log)

        asyncio.run(opened_and_checked())

    return run


@pytest.fixture
def on_each_server(log_url, prefix) -> Callable[[Check], None]:
    """Run a check against a log of four lanes on each kind of server."""

    def run(check: Check) -> None:
        async def opened_and_checked() -> None:
            async with opened(log_url, prefix) as log:
                await check(log)

        asyncio.run(opened_and_checked())

    return run
