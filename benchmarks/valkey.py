"""The Valkey that the measurements share."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis

from eventlog.connection.embedded import EmbeddedServer


@contextmanager
def server() -> Iterator[str]:
    """A fresh server for one run; yields its URL."""
    with tempfile.TemporaryDirectory(prefix="awr-bench-") as folder, EmbeddedServer(Path(folder)) as server:
        with redis.Redis.from_url(server.url) as client:
            # It would hit one measurement and not another.
            client.config_set("auto-aof-rewrite-percentage", 0)
        yield server.url
