"""Which names a server in a private network answers to.

A web page can let a name of its own lead to this machine (DNS rebinding). For a browser that shows the page, both are
one site then. The request still carries the page's name in its `Host` header.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Sequence

_HOST = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+))(?::[0-9]{1,5})?")


def is_among(given: Sequence[str], names: Collection[str]) -> bool:
    """Return whether a request names localhost, an IP address, or one of some names. No page can take those over.

    Args:
        given: the values of its `Host` headers; there has to be one.
        names: in lower case.
    """
    found = _HOST.fullmatch(given[0]) if len(given) == 1 else None
    if found is None:
        return False
    name = (found[1] or found[2]).lower().removesuffix(".")
    return name == "localhost" or name in names or _is_address(name)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
