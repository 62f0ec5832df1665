"""Starts under odd conditions: a database that is not there, a wrong address, closed standard streams."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from eventlog.connection.embedded import EmbeddedServer
from tests.door import TOKEN, awr
from tests.harness import opened, soon

OFF = {"AWR_REGISTER": "off", "AWR_API_TOKEN": TOKEN}


@pytest.mark.parametrize(
    "words", [("events", "list"), ("dead", "list"), ("handlers", "list"), ("explain", "x:1")]
)
def test_a_database_that_the_server_lacks_is_one_line(valkey: EmbeddedServer, words: tuple[str, ...]) -> None:
    done = awr(*words, environ={"AWR_REDIS_URL": f"{valkey.url}?db=99"})
    assert (done.code, done.out) == (2, "")
    (line,) = done.err.splitlines()
    assert line.startswith("ampeco-receiver: AWR_REDIS_URL: redis-no-database")
    assert "use /0" in line


@pytest.mark.parametrize("setting", ["AWR_HOST", "AWR_ADMIN_HOST"])
@pytest.mark.parametrize("host", ["203.0.113.7", "a..b", "x" * 300])
def test_a_wrong_address_is_not_blamed_on_the_port(
    valkey: EmbeddedServer, prefix: str, setting: str, host: str
) -> None:
    places = {"AWR_REDIS_URL": valkey.url, "AWR_KEY_PREFIX": prefix, "AWR_PORT": "0", "AWR_ADMIN_PORT": "0"}
    done = awr("serve", environ={**OFF, **places, setting: host})
    assert done.code == 2
    line = done.err.splitlines()[-1]
    assert line.startswith(f"ampeco-receiver: {setting}: {host} is not an address of this machine")
    assert "Traceback" not in done.err


def test_the_address_of_another_tenant_is_shown_without_its_password(
    valkey: EmbeddedServer, prefix: str
) -> None:
    async def claim() -> None:
        async with opened(valkey.url, prefix) as log:
            await log.claim("https://:S3CRET@theirs.example", "")  # as an earlier version took it

    asyncio.run(claim())
    places = {"AWR_REDIS_URL": valkey.url, "AWR_KEY_PREFIX": prefix, "AWR_PORT": "0", "AWR_ADMIN_PORT": "0"}
    done = awr("serve", environ={**OFF, **places, "AWR_LANES": "4", "AWR_TENANT_URL": "https://ours.example"})
    assert done.code == 2
    assert "belongs to https://theirs.example" in done.err
    assert "@" not in done.err


@pytest.mark.parametrize("closed", ["0>&- 1>&- 2>&-", "0>&-", "1>&-"])
def test_a_process_without_standard_streams_serves_and_stops(
    valkey: EmbeddedServer, prefix: str, tmp_path: Path, closed: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environ = {
        **os.environ,
        **OFF,
        "AWR_REDIS_URL": valkey.url,
        "AWR_KEY_PREFIX": prefix,
        "AWR_PORT": str(port),
        "AWR_ADMIN_PORT": "0",
    }
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    command = f"exec {sys.executable} -m commands serve {closed}"
    process = subprocess.Popen(["/bin/sh", "-c", command], env=environ, **streams)  # type: ignore[call-overload]

    def alive() -> bool:
        assert process.poll() is None, process.returncode
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
                connection.sendall(b"GET /health/live HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
                return b" 200 " in connection.recv(4096)
        except OSError:
            return False

    try:
        for _ in range(5):
            soon(alive, within_s=60)
        for number in (0, 1, 2):
            assert "socket" not in str(Path(f"/proc/{process.pid}/fd/{number}").readlink())
        process.terminate()
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("closed", ["0>&- 1>&- 2>&-", "1>&-", "2>&-"])
@pytest.mark.parametrize("words", ["settings", "handlers list", "--version", "nonsense"])
def test_a_command_without_standard_streams_ends_with_its_exit_code(
    valkey: EmbeddedServer, prefix: str, closed: str, words: str
) -> None:
    environ = {**os.environ, "AWR_REDIS_URL": valkey.url, "AWR_KEY_PREFIX": prefix}
    command = f"exec {sys.executable} -m commands {words} {closed}"
    done = subprocess.run(["/bin/sh", "-c", command], env=environ, capture_output=True, timeout=60)
    assert done.returncode == (2 if words == "nonsense" else 0)
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("words", [("run",), ("events", "list"), ("dead", "list")])
@pytest.mark.parametrize("home", ["", "relative"])
def test_without_a_home_no_store_is_looked_for(words: tuple[str, ...], home: str) -> None:
    environ = {**OFF, "HOME": home, "XDG_STATE_HOME": "", "STATE_DIRECTORY": ""}
    done = awr(*words, environ=environ)
    assert (done.code, done.out) == (2, "")
    (line,) = done.err.splitlines()
    assert line.startswith("ampeco-receiver: AWR_DATA_DIR: is not set, and without HOME")


def test_a_store_in_a_folder_of_others_is_not_talked_to(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "valkey.sock").touch()
    done = awr("events", "list", environ={**OFF, "AWR_DATA_DIR": str(tmp_path)})
    assert done.code == 2
    (line,) = done.err.splitlines()
    assert line.startswith("ampeco-receiver: AWR_DATA_DIR: ")
    assert "is open to other users" in line
