"""Checks of settings that look at several values, or at the environment around them.

Each raises a SettingsError that repeats no value.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ampeco import base_url
from receiver.errors import SettingsError

if TYPE_CHECKING:
    from receiver.settings import Settings

_PROXY = re.compile(
    r"(?:(?P<scheme>https?|socks5h?)://)?(?:[^@/?#\s]*@)?(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)"
    r"(?::(?P<port>[0-9]{1,5}))?/?"
)
CALLBACK_CHARS = 500
_PROXY_NAMES = ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")


def refuse_plain_http(settings: Settings) -> None:
    """Refuse to send the token, or to receive events, over http beyond this machine."""
    if settings.allow_plain_http:
        return
    for name, url, what in (
        ("AWR_TENANT_URL", settings.tenant_url, "the API token would be readable on its way"),
        ("AWR_PUBLIC_URL", settings.public_url, "events would be readable on their way"),
    ):
        if url is not None and base_url.in_clear(url):
            raise SettingsError(
                name, f"is http beyond this machine: {what}", "use https, or set AWR_ALLOW_PLAIN_HTTP=1"
            )


def refuse_long_callback(settings: Settings) -> None:
    """Refuse a callback URL that AMPECO does not take."""
    if settings.callback_url is not None and len(settings.callback_url) > CALLBACK_CHARS:
        raise SettingsError(
            "AWR_PUBLIC_URL",
            f"makes a callback URL of {len(settings.callback_url)} characters, and AMPECO takes {CALLBACK_CHARS}",
            "shorten it, or AWR_WEBHOOK_PATH",
        )


def refuse_odd_proxy(settings: Settings, environ: Mapping[str, str]) -> None:
    """Refuse a proxy for the tenant that no client can be made with. Its URL may hold a password."""
    if settings.tenant_url is None or base_url.is_loopback(urlsplit(settings.tenant_url).hostname or ""):
        return
    names = (
        _PROXY_NAMES
        if settings.tenant_url.startswith("https")
        else (*_PROXY_NAMES, "http_proxy", "HTTP_PROXY")
    )
    for name in names:
        if not (url := environ.get(name, "")):
            continue
        found = _PROXY.fullmatch(url)
        if found is None or not 0 < int(found["port"] or 1) < 65536:
            raise SettingsError(
                name,
                "is not a URL of a proxy",
                "write http://host:port, and percent-encode special characters in a password",
            )
        if (found["scheme"] or "").startswith("socks") and find_spec("socksio") is None:
            raise SettingsError(name, "names a SOCKS proxy, which needs the package socksio", "install it")


def expanded(name: str, text: str, environ: Mapping[str, str]) -> str:
    """Return a path with `~` replaced by the home folder."""
    if not text.startswith("~"):
        return text
    if text.split("/")[0] == "~":
        if (home := home_of(environ)) is None:
            raise SettingsError(name, "begins with ~, and HOME is not set", "give an absolute path")
        return home + text[1:]
    try:
        return str(Path(text).expanduser())
    except RuntimeError:
        raise SettingsError(
            name, "begins with ~ and names no user of this machine", "give an absolute path"
        ) from None


def home_of(environ: Mapping[str, str]) -> str | None:
    """Return the home folder; None without an absolute one."""
    home = environ.get("HOME", "")
    return home if home.startswith("/") else None


def data_folder(settings: Settings) -> Path:
    """Return the folder of the embedded store.

    Raises:
        SettingsError: none is configured, and there is no home folder for the default.
    """
    if settings.data_dir is None:
        raise SettingsError(
            "AWR_DATA_DIR", "is not set, and without HOME it has no default", "set it to a folder of your own"
        )
    return settings.data_dir
