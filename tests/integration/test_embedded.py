"""The embedded server ends with the process that started it. Two servers never write into one folder."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import redis

from eventlog.connection.embedded import EmbeddedServer, EmbeddedServerError
from tests.harness import soon

STARTER = """
import sys, time
from pathlib import Path
from eventlog.connection.embedded import EmbeddedServer
with EmbeddedServer(Path(sys.argv[1])):
    print("started", flush=True)
    time.sleep(60)
"""


def _gone(pid: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        return False
    return True


def test_a_folder_has_one_server(tmp_path: Path) -> None:
    with EmbeddedServer(tmp_path), pytest.raises(EmbeddedServerError, match="another process uses"):
        EmbeddedServer(tmp_path).start()


def test_a_server_whose_starter_was_killed_keeps_its_folder_until_it_is_gone(tmp_path: Path) -> None:
    starter = subprocess.Popen(
        [sys.executable, "-c", STARTER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert starter.stdout is not None
    with starter.stdout:
        assert starter.stdout.readline() == "started\n"
    orphan = EmbeddedServer(tmp_path).pid
    os.kill(orphan, signal.SIGSTOP)  # busy with its last writes
    starter.kill()
    starter.wait()
    with pytest.raises(EmbeddedServerError, match="another process uses"):
        EmbeddedServer(tmp_path).start()
    os.kill(orphan, signal.SIGCONT)
    with EmbeddedServer(tmp_path) as server:
        assert server.pid != orphan
        soon(lambda: _gone(orphan))


def test_one_that_died_by_itself_is_known_and_started_again(tmp_path: Path) -> None:
    with EmbeddedServer(tmp_path) as server:
        with redis.Redis.from_url(server.url) as client:
            client.set("kept", "1")
            client.waitaof(1, 0, 5_000)
        assert not server.ended
        os.kill(server.pid, signal.SIGKILL)
        soon(lambda: server.ended)
        server.stop()
        server.start()
        assert not server.ended
        with redis.Redis.from_url(server.url) as client:
            assert client.get("kept") == b"1"


def test_a_long_path_leaves_no_folder_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The socket of such a data folder lies elsewhere, since a socket's path must be short."""
    with tempfile.TemporaryDirectory() as short:
        monkeypatch.setattr(tempfile, "tempdir", short)
        with EmbeddedServer(tmp_path / ("long" * 30)) as server:
            assert server.url.startswith(f"unix://{short}/awr-")
        assert list(Path(short).iterdir()) == []
