"""More log servers for tests: Debian's Redis, and one that is misconfigured."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis

from commands.demo_stack import free_port
from eventlog.connection.embedded import server_binary
from tests.harness import PATIENCE_S


@contextlib.contextmanager
def debian_server(folder: Path) -> Iterator[str]:
    """Debian's Redis with an append-only file; its URL."""
    with _started("redis-server", folder, {"appendonly": "yes"}) as url:
        yield url


@contextlib.contextmanager
def valkey_cluster_node(folder: Path) -> Iterator[str]:
    """A Valkey in cluster mode, without slots; its URL."""
    with _started(str(server_binary()), folder, {"cluster-enabled": "yes"}) as url:
        yield url


@dataclass(frozen=True)
class Certificates:
    """PEM files: a CA of the test's own, a certificate by it, and its key."""

    ca: Path
    certificate: Path
    key: Path


def certificates(folder: Path, *, names: str = "IP:127.0.0.1,DNS:localhost") -> Certificates:
    """Make a CA and a certificate for some names with openssl; without it, skip the test."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl on this machine")
    made = Certificates(folder / "ca.pem", folder / "server.pem", folder / "server.key")
    ca_key, request, extensions = folder / "ca.key", folder / "server.csr", folder / "names.conf"
    extensions.write_text(f"subjectAltName={names}")
    new_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")

    def openssl(*arguments: str | Path) -> None:
        subprocess.run(["openssl", *arguments], check=True, capture_output=True)

    # Python 3.13 refuses the certificate of a CA that does not say what its key is for.
    may_sign = "-addext", "keyUsage=critical,keyCertSign,cRLSign"
    openssl("req", "-x509", *new_key, "-keyout", ca_key, "-out", made.ca, "-subj", "/CN=test CA", *may_sign)
    openssl("req", *new_key, "-keyout", made.key, "-out", request, "-subj", "/CN=localhost")
    openssl(
        "x509", "-req", "-in", request, "-CA", made.ca, "-CAkey", ca_key, "-CAcreateserial",
        "-out", made.certificate, "-extfile", extensions,
    )  # fmt: skip
    return made


@contextlib.contextmanager
def tls_server(folder: Path, made: Certificates, **options: str) -> Iterator[str]:
    """Debian's Redis with TLS; its URL, which names the CA."""
    port = free_port()
    secured = {
        "tls-port": str(port),
        "tls-cert-file": str(made.certificate),
        "tls-key-file": str(made.key),
        "tls-ca-cert-file": str(made.ca),
        "tls-auth-clients": "no",
    }
    with _started("redis-server", folder, {"appendonly": "yes", **secured, **options}):
        yield f"rediss://127.0.0.1:{port}?ssl_ca_certs={made.ca}"


@contextlib.contextmanager
def server(folder: Path, *, binary: str = "", wait: bool = True, **options: str) -> Iterator[str]:
    """A Valkey (or another binary) with options of the test's own; its URL."""
    started = _started(binary or str(server_binary()), folder, {"appendonly": "yes", **options}, wait=wait)
    with started as url:
        yield url


@contextlib.contextmanager
def _started(binary: str, folder: Path, options: dict[str, str], *, wait: bool = True) -> Iterator[str]:
    socket = folder / "server.sock"
    options = {"port": "0", "unixsocket": str(socket), "dir": str(folder), **options}
    arguments = [part for name, value in options.items() for part in (f"--{name}", value)]
    server = subprocess.Popen([binary, *arguments], stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + PATIENCE_S
        with redis.Redis(unix_socket_path=str(socket)) as client:
            while wait:
                try:
                    client.ping()
                    break
                except redis.RedisError:
                    assert time.monotonic() < deadline, "the server did not start"
                    time.sleep(0.02)
        yield f"unix://{socket}"
    finally:
        server.terminate()
        server.wait(PATIENCE_S)
