"""A real receiver in a process of its own, for tests: what it logs, what it answers, and its ports."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ampeco.signature import SigningKey, sign
from tests.harness import PATIENCE_S

TOKEN = "token-nobody-may-see"
PATH = "/webhooks/ampeco"


class Reply(NamedTuple):
    """One answer as it came over the wire; `closed` when the connection was closed after it."""

    status: int
    headers: dict[str, str]
    body: bytes
    closed: bool


class Door:
    """One `ampeco-receiver serve`; open when the constructor returns. A setting given as None is left out."""

    def __init__(
        self, redis_url: str, prefix: str, environ: Mapping[str, str | None] | None = None, *options: str
    ) -> None:
        wanted: dict[str, str | None] = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("AWR_", "RQ_"))},
            "AWR_REDIS_URL": redis_url,
            "AWR_KEY_PREFIX": prefix,
            "AWR_REGISTER": "off",
            "AWR_API_TOKEN": TOKEN,
            "AWR_PORT": "0",
            "AWR_ADMIN_PORT": "0",
            "AWR_LANES": "4",
            **(environ or {}),
        }
        self.environ = {name: value for name, value in wanted.items() if value is not None}
        self.lines: list[dict[str, Any]] = []
        self._arrived: queue.Queue[dict[str, Any]] = queue.Queue()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "commands", "serve", *options],
            stderr=subprocess.PIPE,
            text=True,
            env=self.environ,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        try:
            opened = self.line("endpoint.opened")
        except AssertionError:
            self.process.kill()
            self.process.wait(PATIENCE_S)
            raise
        self.port, self.admin_port = int(opened["port"]), int(opened["admin_port"])

    def _read(self) -> None:
        assert self.process.stderr is not None
        for text in self.process.stderr:
            try:
                line = json.loads(text)
            except ValueError:
                line = {"event": text}
            self.lines.append(line)
            self._arrived.put(line)

    def line(self, event: str, *, within_s: float = PATIENCE_S, **fields: Any) -> dict[str, Any]:
        """Return the next log line of this event, with these fields, that no call returned before."""
        deadline = time.monotonic() + within_s
        while True:
            try:
                found = self._arrived.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"no line {event} {fields} in {self.lines}") from None
            if found["event"] == event and fields.items() <= found.items():
                return found

    def said(self, event: str) -> list[dict[str, Any]]:
        """Every line of this event until now."""
        return [line for line in self.lines if line["event"] == event]

    def post(self, body: bytes, *, key: str = TOKEN, **headers: str | None) -> Reply:
        """Send a signed body; a header given as None is left out, and `_` stands for `-`."""
        return self.exchange(signed_head(body, key=key, **headers) + body)

    def get(self, path: str, *, admin: bool = False) -> Reply:
        """Ask the public port, or the admin port."""
        request = f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n".encode()
        return self.exchange(request, port=self.admin_port if admin else self.port)

    def ready(self) -> dict[str, Any]:
        """What the admin port says of readiness."""
        report: dict[str, Any] = json.loads(self.get("/health/ready", admin=True).body)
        return report

    def metric(self, name: str) -> float:
        """One sample of the admin port's metrics."""
        for line in self.get("/metrics", admin=True).body.decode().splitlines():
            if line.startswith(f"{name} "):
                return float(line.split()[1])
        return 0.0

    def connect(self, port: int | None = None) -> socket.socket:
        """A connection of one's own."""
        return socket.create_connection(("127.0.0.1", port or self.port), timeout=PATIENCE_S)

    def exchange(self, request: bytes, *, port: int | None = None) -> Reply:
        """Raw bytes there, one answer back."""
        with self.connect(port) as connection:
            with contextlib.suppress(ConnectionError):
                connection.sendall(request)
            return read_reply(connection)

    def stop(self) -> int:
        """Stop it with SIGTERM; return the exit status."""
        self.process.terminate()
        return self.ends()

    def ends(self) -> int:
        """Wait for its end; the exit status."""
        code = self.process.wait(PATIENCE_S)
        self._reader.join(5)
        return code


def signed_head(body: bytes, *, key: str = TOKEN, **headers: str | None) -> bytes:
    """The head of a request for a signed body; a header given as None is left out, and `_` stands for `-`."""
    signature = sign(body, SigningKey.of(key))
    named = {
        "content-type": "application/json",
        "x-signature": signature,
        "content-length": str(len(body)),
    }
    named |= {name.replace("_", "-"): value for name, value in headers.items()}  # type: ignore[dict-item]
    head = "".join(f"{name}: {value}\r\n" for name, value in named.items() if value is not None)
    return f"POST {PATH} HTTP/1.1\r\nhost: 127.0.0.1\r\n{head}\r\n".encode()


def read_reply(connection: socket.socket, *, wait_for_close: bool = False) -> Reply:
    """One answer from a connection, and whether it was closed behind it."""
    data = b""
    while b"\r\n\r\n" not in data:
        part = connection.recv(65536)
        assert part, f"closed without an answer: {data!r}"
        data += part
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
    while len(body) < int(headers.get("content-length", 0)):
        body += connection.recv(65536)
    closed = False
    if wait_for_close:
        with contextlib.suppress(ConnectionError):
            closed = connection.recv(1) == b""
    return Reply(int(lines[0].split()[1]), headers, body, closed)


@contextlib.contextmanager
def door(
    redis_url: str, prefix: str, environ: Mapping[str, str | None] | None = None, *options: str
) -> Iterator[Door]:
    """A receiver as long as the block lasts."""
    opened = Door(redis_url, prefix, environ, *options)
    try:
        yield opened
    finally:
        if opened.process.poll() is None:
            opened.process.kill()
            opened.process.wait(PATIENCE_S)
        if opened.process.stderr is not None:
            opened._reader.join(5)
            opened.process.stderr.close()


def awr(*arguments: str, environ: Mapping[str, str] | None = None, cwd: Path | None = None) -> Outcome:
    """Run a command of ours with nothing in its environment but this."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("AWR_", "RQ_"))}
    done = subprocess.run(
        [sys.executable, "-m", "commands", *arguments],
        capture_output=True,
        text=True,
        timeout=3 * PATIENCE_S,
        env={**clean, **(environ or {})},
        cwd=cwd,
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


class Outcome(NamedTuple):
    """What a command left behind."""

    code: int
    out: str
    err: str
