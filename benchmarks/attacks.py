"""`python -m benchmarks.attacks NAME PORT`: what a sender without a signature can do to a port, until it is killed.

Tests and measurements run it in a process of its own while others use the service.
"""

from __future__ import annotations

import contextlib
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

MIB = 1 << 20

_HEAD = b"POST /webhooks/ampeco HTTP/1.1\r\nhost: x\r\n"
_REST_S = 0.02
_MANY = 1_000  # connections; the usual limit of descriptors is 1,024


def headers(port: int) -> None:
    """Send 36 MiB of short headers on one connection, again and again."""
    _flood(port, _HEAD, b"a:\r\n" * 16_384, 36 * MIB)


def url(port: int) -> None:
    """Send a request line that does not end."""
    _flood(port, b"GET /", b"x" * 65_536, 36 * MIB)


def trailers(port: int) -> None:
    """Send trailers without end after a chunked body."""
    _flood(port, _HEAD + b"transfer-encoding: chunked\r\n\r\n1\r\n{\r\n0\r\n", b"a:\r\n" * 16_384, 36 * MIB)


def content_types(port: int) -> None:
    """Send 256 different content types of 30,000 bytes, again and again."""
    number = 0
    while True:
        kind = b"application/json; a=%d%s" % (number, b"x" * 30_000)
        number = (number + 1) % 256
        with _connected(port) as connection, contextlib.suppress(OSError):
            connection.sendall(_HEAD + b"content-length: 0\r\ncontent-type: %b\r\n\r\n" % kind)
            connection.recv(65_536)


def pipelining(port: int) -> None:
    """Send 10 MiB of short requests over 40 connections, and read no answer until all is sent."""
    requests = b"GET / HTTP/1.1\r\n\r\n" * (10 * MIB // 40 // 18)
    while True:
        with ExitStack() as stack:
            connections = [stack.enter_context(_connected(port)) for _ in range(40)]
            for at in range(0, len(requests), 32_768):
                for connection in connections:
                    with contextlib.suppress(OSError):
                        connection.send(requests[at : at + 32_768], socket.MSG_DONTWAIT)
                time.sleep(_REST_S / 10)
            for connection in connections:
                with contextlib.suppress(OSError):
                    while connection.recv(65_536):
                        pass


def silence(port: int) -> None:
    """Hold 1,000 connections, send nothing, and replace those that are closed."""
    _hold(port, b"", b"")


def dripping(port: int) -> None:
    """Hold 1,000 connections, and send a byte of a head on each now and then."""
    _hold(port, _HEAD + b"x: ", b"a")


def large_heads(port: int) -> None:
    """Hold 1,000 connections with heads of 16,000 bytes that are not complete."""
    _hold(port, _HEAD + b"x: " + b"a" * 16_000, b"")


ATTACKS: dict[str, Callable[[int], None]] = {
    "headers": headers,
    "url": url,
    "trailers": trailers,
    "content types": content_types,
    "pipelining": pipelining,
    "silence": silence,
    "dripping": dripping,
    "large heads": large_heads,
}


@contextlib.contextmanager
def under(attack: str, port: int) -> Iterator[None]:
    """Run an attack as long as the block lasts."""
    command = [sys.executable, "-m", "benchmarks.attacks", attack, str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()  # it has begun
            yield
            assert process.poll() is None, "the attack ended by itself"
        finally:
            process.kill()


@contextlib.contextmanager
def _connected(port: int) -> Iterator[socket.socket]:
    with socket.socket() as connection:
        connection.settimeout(10)
        with contextlib.suppress(OSError):
            connection.connect(("127.0.0.1", port))
        yield connection


def _flood(port: int, begin: bytes, part: bytes, size: int) -> None:
    while True:
        with _connected(port) as connection, contextlib.suppress(OSError):
            connection.sendall(begin)
            for _ in range(size // len(part)):
                connection.sendall(part)
        time.sleep(_REST_S)


def _hold(port: int, begin: bytes, drop: bytes) -> None:
    held: list[socket.socket] = []
    while True:
        while len(held) < _MANY:
            connection = socket.socket()
            connection.settimeout(5)
            try:
                connection.connect(("127.0.0.1", port))
                connection.sendall(begin)
                connection.setblocking(False)
            except OSError:
                connection.close()
                break
            held.append(connection)
        held = [one for one in held if _is_open(one, drop)]
        time.sleep(0.2)


def _is_open(connection: socket.socket, drop: bytes) -> bool:
    try:
        connection.send(drop)
        if connection.recv(1_000):
            return True
    except BlockingIOError:
        return True
    except OSError:
        pass
    connection.close()
    return False


def peak_mib(process_id: int) -> float:
    """Return the most memory that a process has had in RAM, in MiB."""
    lines = Path(f"/proc/{process_id}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


if __name__ == "__main__":
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    print("begins", flush=True)
    ATTACKS[sys.argv[1]](int(sys.argv[2]))
