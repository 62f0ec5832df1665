"""The URL of a single Redis server: `redis://`, `rediss://` and `unix://`.

redis-py reads such a URL generously. It takes `/abc` for database 0, port 0 for 6379, and a missing host for
localhost. It drops a fragment. Each of these may be the rest of a password that was not percent-encoded.
No text of this module repeats a part of the URL.
"""

from __future__ import annotations

import re
from typing import Final

from eventlog.connection import tls
from eventlog.connection.url_parts import parse_options

SCHEMES: Final = ("redis", "rediss", "unix")

_OPTIONS: Final = ("db", "client_name", "health_check_interval", "socket_keepalive")
_DATABASE: Final = re.compile(r"[0-9]{1,9}")
_HOST: Final = re.compile(r"\[[0-9A-Fa-f:.]+\]|[^\[\]:\s,\\%]+")
_ENCODE: Final = "percent-encode special characters in a password"


def check(url: str) -> None:
    """Check the parts of a URL; raise ValueError with what to fix."""
    scheme, _, rest = url.partition("://")
    if "#" in rest:
        raise ValueError(f"has a '#'; {_ENCODE}")
    rest, mark, query = rest.partition("?")
    authority, _, path = rest.partition("/")
    if "@" in path or "@" in query:
        raise ValueError(f"has an '@' after a '/' or '?'; {_ENCODE}")
    place = authority.rpartition("@")[2]
    if scheme.lower() == "unix":
        if place or not path:
            raise ValueError("must name a socket, such as unix:///run/redis.sock")
        _options(mark, query, _OPTIONS)
        return
    _check_place(place)
    options = _options(mark, query, (*_OPTIONS, *tls.OPTIONS) if scheme.lower() == "rediss" else _OPTIONS)
    if path and (not _DATABASE.fullmatch(path) or "db" in options):
        raise ValueError("must end with one database number, such as redis://host:6379/0")


def _check_place(place: str) -> None:
    host, colon, port = place.rpartition(":") if not place.endswith("]") else (place, "", "")
    if not colon:
        host = place
    if not host:
        raise ValueError("names no host; write redis://host:6379")
    if not _HOST.fullmatch(host):
        raise ValueError(f"must name one host, IPv6 in brackets; {_ENCODE}")
    if colon and not (_DATABASE.fullmatch(port) and 0 < int(port) < 65536):
        raise ValueError(f"has a port that is not a number from 1 to 65535; {_ENCODE}")


def _options(mark: str, query: str, known: tuple[str, ...]) -> dict[str, object]:
    if mark and not query:
        raise ValueError(f"has a '?' and no option; {_ENCODE}")
    options = parse_options(query, known)
    for name in ("db", "health_check_interval"):
        if name in options and not _DATABASE.fullmatch(options[name]):
            raise ValueError(f"must give {name} as a number")
    return options
