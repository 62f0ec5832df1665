"""The listening sockets: opened here, or inherited from a parent process.

It knows nothing of HTTP.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Iterator
from typing import TypeAlias

from receiver import descriptors
from receiver.errors import SettingsError
from receiver.logging import get_logger
from receiver.secret_files import warn_of_short_keys
from receiver.settings import Settings

BACKLOG = 2048
"""Connections that the kernel keeps for us before we accept them."""

Listeners: TypeAlias = contextlib.AbstractContextManager[tuple[socket.socket, socket.socket]]
"""The public and the admin socket. They listen until the block ends."""

_NO_ADDRESS = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EINVAL)
_log = get_logger(__name__)


@contextlib.contextmanager
def open_listeners(settings: Settings, **fields: object) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Open the public and the admin port, and log both with these fields; refuse if one cannot be opened."""
    with (
        listening(settings.host, settings.port, "AWR_PORT") as public,
        listening(settings.admin_host, settings.admin_port, "AWR_ADMIN_PORT") as admin,
    ):
        _log.info("settings.loaded", **settings.summary())
        warn_of_short_keys(settings)
        ports = {"port": public.getsockname()[1], "admin_port": admin.getsockname()[1]}
        _log.info("endpoint.opened", **ports, **fields)
        yield public, admin
        _log.info("endpoint.closed")


@contextlib.contextmanager
def inherited_listeners(public_fd: int, admin_fd: int) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Use listening sockets that the parent process opened, by their file descriptors."""
    with socket.socket(fileno=public_fd) as public, socket.socket(fileno=admin_fd) as admin:
        _log.info("endpoint.opened", pid=os.getpid())
        yield public, admin
        _log.info("endpoint.closed", pid=os.getpid())


@contextlib.contextmanager
def listening(host: str, port: int, setting: str) -> Iterator[socket.socket]:
    """Open a listening TCP socket that closes when the block ends; port 0 chooses a free one.

    It also raises the limit of open files, since each connection is one.

    Raises:
        SettingsError: it cannot be opened; the error names `setting`.
    """
    descriptors.raise_limit()
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    both = host == "::" and socket.has_dualstack_ipv6()
    try:
        listener = socket.create_server((host, port), family=family, backlog=BACKLOG, dualstack_ipv6=both)
    except (OSError, UnicodeError) as error:
        raise _refusal(host, port, setting, error) from None
    with listener:
        # Accepted connections inherit this. asyncio sets it only where proto is IPPROTO_TCP; here it is 0.
        # Without it, Nagle's algorithm may delay an answer's body until the peer acknowledges the head.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield listener


def _refusal(host: str, port: int, setting: str, error: OSError | UnicodeError) -> SettingsError:
    """Name the setting that is at fault: the port, or the address."""
    # `create_server` raises a plain OSError for the error of a name that has no address.
    unresolved = isinstance(error.__context__, socket.gaierror)
    if isinstance(error, UnicodeError) or unresolved or error.errno in _NO_ADDRESS:
        return SettingsError(
            setting.replace("_PORT", "_HOST"),
            f"{host} is not an address of this machine",
            "use 127.0.0.1, 0.0.0.0 for all, or one that this machine has",
        )
    fix = "choose one above 1023" if error.errno == errno.EACCES else "free it or choose another"
    return SettingsError(setting, f"{host}:{port} cannot be opened ({os.strerror(error.errno or 0)})", fix)
