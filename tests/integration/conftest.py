"""Logs to check against, and a server that may be harmed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from eventlog.connection.embedded import EmbeddedServer
from eventlog.log import EventLog
from tests.harness import on_log

Check = Callable[[EventLog], Awaitable[None]]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedServer]:
    """A server that may be harmed."""
    with EmbeddedServer(tmp_path / "valkey") as running:
        yield running


@pytest.fixture
def with_lane(valkey, prefix) -> Callable[[Check], None]:
    """Run a check against a log of one lane."""

    return lambda check: on_log(valkey.url, prefix, check, lanes=1)


@pytest.fixture
def with_log(valkey, prefix) -> Callable[[Check], None]:
    """Run a check against a log of four lanes."""
    return lambda check: on_log(valkey.url, prefix, check)


@pytest.fixture
def on_each_server(log_url, prefix) -> Callable[[Check], None]:
    """Run a check against a log of four lanes on each kind of server."""

    return lambda check: on_log(log_url, prefix, check)
