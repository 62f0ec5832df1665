"""One TLS context per process and set of options, for every connection to Redis and to sentinels.

redis-py makes a context for each connection: 26 to 47 ms of processor time, inside the event loop. With little
processor time that stops a worker for longer than its watchdog allows.
"""

from __future__ import annotations

import contextlib
import errno
import ssl
import stat
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import redis
import redis.asyncio

_FILES: Final = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
OPTIONS: Final = (*_FILES, "ssl_cert_reqs", "ssl_check_hostname", "ssl_min_version")
"""Options of a URL that a context is made of, as redis-py names them."""

_VERIFY: Final = {
    "none": ssl.CERT_NONE,
    "optional": ssl.CERT_OPTIONAL,
    "required": ssl.CERT_REQUIRED,
}
_lock = threading.Lock()
_made: dict[tuple[object, ...], tuple[tuple[int, ...], ssl.SSLContext]] = {}


def check(options: Mapping[str, Any]) -> None:
    """Check that a context can be made of these options, which redis-py parsed.

    Raises:
        ValueError: it cannot; the text names no part of the URL.
    """
    if options.get("ssl_cert_reqs", "required") not in _VERIFY:
        raise ValueError(f"must give ssl_cert_reqs as one of {', '.join(_VERIFY)}")
    try:
        context(options)
    except (OSError, ValueError) as error:
        why = (error.strerror if isinstance(error, OSError) else None) or type(error).__name__
        raise ValueError(f"names TLS files or a version that cannot be used ({why})") from None


def prepare(options: Mapping[str, Any]) -> None:
    """Make the context now, before anything waits for a connection. A fault shows when one is opened."""
    with contextlib.suppress(OSError, ValueError):
        context(options)


def context(options: Mapping[str, Any]) -> ssl.SSLContext:
    """Return the context for these options. It is made at the first call, and again after one of its files changed.

    Raises:
        OSError: a file cannot be read, or holds no certificate.
    """
    wanted = tuple(options.get(name) for name in OPTIONS)
    files = tuple(_changed_ns(Path(options[name])) for name in _FILES if options.get(name))
    with _lock:
        known = _made.get(wanted)
        if known is None or known[0] != files:
            known = _made[wanted] = (files, _make(*wanted))
    return known[1]


def _changed_ns(path: Path) -> int:
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):  # opening a pipe blocks
        raise OSError(errno.EINVAL, "no regular file")
    return found.st_mtime_ns


def _make(ca: Any, cert: Any, key: Any, verify: Any, check_hostname: Any, min_version: Any) -> ssl.SSLContext:
    made = ssl.create_default_context()  # with the system's certificates, like redis-py: most of the time
    if ca:
        made.load_verify_locations(ca)
    mode = _VERIFY[verify or "required"]
    made.check_hostname = mode != ssl.CERT_NONE and check_hostname is not False
    made.verify_mode = mode
    if cert or key:
        made.load_cert_chain(cert or key, key)
    if min_version is not None:
        made.minimum_version = ssl.TLSVersion(min_version)
    return made


class _Options:
    """Keeps the TLS options of a connection, to find the shared context with."""

    def __init__(self, **options: Any) -> None:
        self._tls: dict[str, Any] = {name: options[name] for name in OPTIONS if name in options}
        super().__init__(**options)


class AsyncTLS(_Options, redis.asyncio.SSLConnection):
    """A connection of the event loop that uses the shared context."""

    def _connection_arguments(self) -> Mapping[str, Any]:
        # Not redis-py's own arguments, which come with a new context.
        return {"host": self.host, "port": self.port, "ssl": context(self._tls)}


class TLS(_Options, redis.SSLConnection):
    """A blocking connection that uses the shared context."""

    def _wrap_socket_with_ssl(self, sock: Any) -> ssl.SSLSocket:
        return context(self._tls).wrap_socket(sock, server_hostname=self.host)
