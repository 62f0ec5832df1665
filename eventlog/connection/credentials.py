"""User and password of new connections to Redis, which may change while the process runs.

They come from the file of the URL, read again for each connection, or from a function of the operator's, for tokens
that expire. One process talks to one Redis, so there is one source. Open connections keep the login they began with.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from redis.credentials import CredentialProvider
from redis.exceptions import AuthenticationError

Source = Callable[[], tuple[str, str]]

_source: Source | None = None


def use(source: Source | None) -> None:
    """Ask this function for user and password of each new connection. None: take those of the URL."""
    global _source
    _source = source


def follow(path: Path) -> None:
    """Read user and password from the URL in this file for each new connection."""
    use(lambda: login_of(path.read_text().strip()))


def load(name: str) -> Source:
    """Import a function by `module:function`.

    Raises:
        ValueError: there is none; the text says why.
    """
    module, _, attribute = name.partition(":")
    if not module or not attribute:
        raise ValueError("must be module:function")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"cannot be loaded ({error})") from None
    if not callable(found):
        raise ValueError("names no function")
    return found  # type: ignore[no-any-return]


def login_of(url: str) -> tuple[str, str]:
    """Return user and password of a URL, each empty if it has none."""
    login, at, _ = url.partition("://")[2].partition("?")[0].partition("/")[0].rpartition("@")
    user, _, password = login.partition(":") if at else ("", "", "")
    return unquote(user), unquote(password)


def without_login(url: str) -> str:
    """Return a URL without user and password."""
    scheme, _, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    return f"{scheme}://{authority.rpartition('@')[2]}{slash}{path}"


def install(options: dict[str, Any]) -> None:
    """Let the connections of a pool ask the source, if there is one.

    Args:
        options: the pool's arguments for its connections; changed in place.
    """
    if _source is not None:
        options.pop("username", None)
        options.pop("password", None)
        options["credential_provider"] = _Asking(_source)


class _Asking(CredentialProvider):
    def __init__(self, source: Source) -> None:
        self._source = source

    def get_credentials(self) -> tuple[str, str]:
        try:
            user, password = self._source()
        except Exception as error:  # the operator's own code: its errors mean that there is no login now
            raise AuthenticationError("the source of user and password failed") from error
        return user or "default", password

    async def get_credentials_async(self) -> tuple[str, str]:
        return await asyncio.to_thread(self.get_credentials)  # it may ask a service
