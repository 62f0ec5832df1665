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


def _mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_what_the_server_writes_is_for_this_user_alone(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir(mode=0o755)
    before = os.umask(0)
    try:
        with EmbeddedServer(folder, appendfsync="always") as server:
            assert _mode(folder) == 0o700
            with redis.Redis.from_url(server.url) as client:
                client.set("a", "b")
                client.bgrewriteaof()
                soon(lambda: client.info("persistence")["aof_rewrite_in_progress"] == 0)
            written = [path for path in folder.rglob("*") if path.is_file() and path.name != "lock"]
            assert len(written) > 2
            assert {path.name: _mode(path) & 0o077 for path in written} == {path.name: 0 for path in written}
    finally:
        os.umask(before)


@pytest.fixture
def far_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder whose name is too long for a socket, and a temporary folder of all users."""
    monkeypatch.setattr(tempfile, "tempdir", tempfile.mkdtemp(dir="/tmp"))
    folder = tmp_path / ("long" * 30)
    folder.mkdir()
    return folder


def test_a_socket_folder_that_is_open_to_others_is_not_used(far_away: Path) -> None:
    server = EmbeddedServer(far_away)
    socket_folder = Path(server.url.removeprefix("unix://")).parent
    socket_folder.mkdir(mode=0o700)
    socket_folder.chmod(0o755)
    for attempt in (server.start, lambda: server.runs):
        with pytest.raises(EmbeddedServerError, match="open to other users"):
            attempt()


def test_a_link_in_place_of_the_socket_folder_is_not_followed(far_away: Path, tmp_path: Path) -> None:
    server = EmbeddedServer(far_away)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    (elsewhere / "valkey.sock").touch()
    Path(server.url.removeprefix("unix://")).parent.symlink_to(elsewhere)
    for attempt in (server.start, lambda: server.runs):
        with pytest.raises(EmbeddedServerError, match="is not a folder"):
            attempt()


def test_a_folder_of_another_user_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = EmbeddedServer(tmp_path)
    monkeypatch.setattr(os, "geteuid", lambda: tmp_path.stat().st_uid + 1)
    for attempt in (server.start, lambda: server.runs):
        with pytest.raises(EmbeddedServerError, match="belongs to another user"):
            attempt()


def test_a_socket_folder_of_ours_serves(far_away: Path) -> None:
    server = EmbeddedServer(far_away)
    assert not server.runs
    with server:
        assert server.runs
        assert _mode(Path(server.url.removeprefix("unix://")).parent) == 0o700
    assert not server.runs
