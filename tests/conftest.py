"""Real servers for every test that needs one: an embedded Valkey always, Debian's Redis where it is installed."""

from __future__ import annotations

import os
import shutil
import signal
import uuid
from collections.abc import Generator, Iterator
from typing import Any

import pytest
import structlog
from hypothesis import HealthCheck, settings

from eventlog.connection.embedded import EmbeddedServer
from tests.cli import Cli
from tests.programs import not_run
from tests.servers import debian_server
from tests.target import Target, target

# RQ reads its prefix when it is imported, and tests enqueue in this process too.
os.environ.setdefault("RQ_KEY_PREFIX", "awr:rq")

# A shell starts what runs in its background with SIGINT ignored, and processes hand that on: Ctrl-C in a test of our
# own processes would then do nothing.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# On a busy machine an example may take seconds, and that is not a fault of what is tested.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")

LOG_SERVERS = ["valkey", *(["redis"] if shutil.which("redis-server") else [])]


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> Generator[None]:
    """Name what did not run, below the list of skipped tests, where it is not overlooked."""
    yield
    if line := not_run():
        terminalreporter.write_line(line, yellow=True)


@pytest.fixture(scope="session", autouse=True)
def loggers_stay_open_to_capture() -> Iterator[None]:
    """No logger is cached: `capture_logs` of a later test sees nothing of a cached one."""
    configure = structlog.configure

    def without_cache(**settings: Any) -> None:
        configure(**{**settings, "cache_logger_on_first_use": False})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(structlog, "configure", without_cache)
        yield


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    """One embedded server for the whole run; a test that harms its server starts its own."""
    with EmbeddedServer(tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.fixture
def prefix() -> str:
    """A key prefix of its own, so that tests can share a server."""
    return f"t{uuid.uuid4().hex[:10]}:"


@pytest.fixture
def cli(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, valkey: EmbeddedServer, prefix: str
) -> Cli:
    """The command line on the log of the test."""
    return Cli(capsys, monkeypatch, valkey.url, prefix)


@pytest.fixture
def there() -> Iterator[Target]:
    """A real HTTP server that takes what handlers send."""
    with target() as server:
        yield server


@pytest.fixture(scope="session")
def debian_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of Debian's Redis; only asked for where it is installed."""
    with debian_server(tmp_path_factory.mktemp("redis")) as url:
        yield url


@pytest.fixture(params=LOG_SERVERS)
def log_url(request: pytest.FixtureRequest) -> str:
    """URL of each kind of server that a log must work on."""
    if request.param == "redis":
        return str(request.getfixturevalue("debian_redis"))
    return str(request.getfixturevalue("valkey").url)
