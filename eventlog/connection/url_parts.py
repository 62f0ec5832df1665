"""Parts that the URLs of several servers have in common: a list of hosts, options, and a login.

No text of this module repeats a part of the URL, since any could be part of a password.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote

_HOST = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<name>[^\[\]:\s]+))(?::(?P<port>[0-9]{1,5}))?")


def address(text: str, *, default_port: int, what: str) -> tuple[str, int]:
    """Parse `host[:port]`, IPv6 in brackets; `what` names such servers in the error."""
    found = _HOST.fullmatch(text)
    port = int(found["port"] or default_port) if found else 0
    if found is None or not 0 < port < 65536:
        raise ValueError(
            f"must name its {what} as host:port[,host:port...], IPv6 in brackets; "
            "percent-encode special characters in a password"
        )
    return found["v6"] or found["name"], port


def parse_options(query: str, known: Sequence[str]) -> dict[str, Any]:
    """Parse the options of a URL; each known one at most once."""
    options: dict[str, Any] = {}
    for part in filter(None, query.split("&")):
        name, _, value = part.partition("=")
        if name not in known:
            raise ValueError(f"has an unknown option; what can be given is {', '.join(known) or 'none'}")
        if not value or name in options:
            raise ValueError(f"must give {name} once, with a value")
        options[name] = unquote(value)
    if "ssl_check_hostname" in options:
        checked = options["ssl_check_hostname"].lower()
        if checked not in ("true", "false"):
            raise ValueError("must give ssl_check_hostname as true or false")
        options["ssl_check_hostname"] = checked == "true"
    if "ssl_min_version" in options:
        if not options["ssl_min_version"].isdecimal():
            raise ValueError("must give ssl_min_version as a number, such as 771 for TLS 1.2")
        options["ssl_min_version"] = int(options["ssl_min_version"])
    return options


def login_of(username: str, password: str) -> dict[str, str]:
    """Return a login as arguments of redis-py's connections."""
    return {name: text for name, text in (("username", username), ("password", password)) if text}
