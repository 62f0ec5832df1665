"""What a base URL, such as the tenant's, must look like; imports no HTTP client.

No text of this module repeats a part of the URL, since any part could be a password.
"""

import ipaddress
import re
from urllib.parse import urlsplit

_HOST = re.compile(r"[A-Za-z0-9._-]+")
_BARE = "must be a bare URL, without user, password, query or fragment"
_FORM = "must look like https://host"


def fault_of(url: str) -> str | None:
    """Return what is wrong with a base URL, as the end of a sentence; None if nothing is."""
    if not url.isprintable() or " " in url:
        return "holds a blank or a character that is not printable"
    if any(mark in url for mark in "@?#"):
        return _BARE
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        host.encode("idna")  # as the socket will: a label of it may be empty or too long
    except ValueError:
        return _FORM
    known = _is_address(host) if "[" in parts.netloc else _is_name(host)
    if parts.scheme not in ("http", "https") or not known or "\\" in url:
        return _FORM
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port == 0 or parts.netloc.endswith(":"):
        return "has a port that is not a number from 1 to 65535"
    return None


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine for certain. Other names than localhost could mean another one."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def in_clear(url: str) -> bool:
    """Return whether what is sent to this URL leaves the machine unencrypted."""
    parts = urlsplit(url)
    return parts.scheme == "http" and not is_loopback(parts.hostname or "")


def _is_name(host: str) -> bool:
    return bool(host) and (not host.isascii() or _HOST.fullmatch(host) is not None)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return "%" not in text
