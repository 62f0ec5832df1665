"""Turns an error of Redis into a stable reason and a hint, for logs, metrics and readiness.

It knows errors only. Callers decide what to do about them.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator
from typing import Final, NamedTuple

from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
)

from eventlog.connection.sentinel import TooFewReplicas
from eventlog.errors import NotReplicated
from eventlog.scripts import command_at
from eventlog.text import bounded


class Reason(NamedTuple):
    """Why Redis cannot be used.

    Attributes:
        slug: stable, for logs, metrics and readiness.
        hint: what to check, for people. It holds no secret.
        permission: the command that the ACL user may not run, or `a key`; empty if unknown.
    """

    slug: str
    hint: str
    permission: str = ""

    def fields(self, error: BaseException) -> dict[str, str]:
        """Return what a log line says about the error."""
        found = {"reason": self.slug, "error": type(error).__name__, "hint": self.hint}
        if text := said_by_redis(error):
            found["said"] = text
        return {**found, "permission": self.permission} if self.permission else found


FULL: Final = "redis-full"
_HINTS: Final = {
    "redis-unreachable": "check address, port, scheme and network; does the server run?",
    "redis-no-permission": "grant the ACL user the command; deploy/README.md has the least that is needed",
    "redis-login-refused": "check user and password in AWR_REDIS_URL",
    "redis-tls": "check the scheme (rediss:// or redis://), ssl_ca_certs and the names in the certificate",
    "redis-no-database": "the server has no database of the number in AWR_REDIS_URL; use /0",
    "redis-loading": "the server reads its data after a start; wait",
    "redis-read-only": "the server is a replica; use the address of the master",
    "redis-not-persisting": "the server cannot write its data to disk; check its disk and log",
    FULL: "out of memory: the server reached maxmemory; raise it or let workers settle events",
    "redis-busy-script": "a script keeps the server busy; SCRIPT KILL ends it",
    "redis-too-many-clients": "raise maxclients, or close other clients",
    "redis-not-replicating": "too few replicas confirm writes; check them",
    "redis-refused": "the server refused a command; its log may say why",
}
SLUGS: Final = tuple(_HINTS)
REFUSED: Final = ("redis-no-permission", "redis-login-refused", "redis-tls", "redis-no-database")
"""Reasons that no waiting helps against: the configuration is wrong."""
UNCLEAR: Final = ("redis-unreachable", "redis-refused")
"""Reasons of errors that no other reason fits; their own text says more."""

_BY_WORD: Final = {
    "NOPERM": "redis-no-permission",
    "WRONGPASS": "redis-login-refused",
    "NOAUTH": "redis-login-refused",
    "LOADING": "redis-loading",
    "READONLY": "redis-read-only",
    "MISCONF": "redis-not-persisting",
    "OOM": FULL,
    "BUSY": "redis-busy-script",
    "NOREPLICAS": "redis-not-replicating",
}
_BY_CLASS: Final = (
    (NotReplicated, "redis-not-replicating"),
    (TooFewReplicas, "redis-not-replicating"),
    (ReadOnlyError, "redis-read-only"),
    (OutOfMemoryError, FULL),
    (NoPermissionError, "redis-no-permission"),
    (AuthenticationError, "redis-login-refused"),
    (AuthorizationError, "redis-login-refused"),
    (BusyLoadingError, "redis-loading"),
)
_REFUSALS: Final = (ResponseError, AuthenticationError, AuthorizationError, BusyLoadingError)
_SAID_CHARS: Final = 200
_REPEATS: Final = "with args beginning with"
_TOO_MANY: Final = "max number of clients"
_NO_DATABASE: Final = ("DB index is out of range", "invalid DB index", "SELECT is not allowed")
_FORBIDDEN: Final = ("The user executing the script can't", "ACL failure in script")  # without NOPERM
_A_KEY: Final = re.compile(r"access (a|at least one of the) key|permissions to access .*key")
_NAMED: Final = re.compile(r"(?:run|execute) the '([^']+)' command|permissions? to run the '([^']+)'")
_PLACE: Final = re.compile(r"script: ([0-9a-f]{40}), on @user_script:(\d+)")


def reason_of(error: BaseException) -> Reason:
    """Return why this error means that Redis cannot be used."""
    chain = list(_chain(error))
    slug = next(filter(None, map(_slug, chain)), None)
    if slug is None:
        slug = "redis-refused" if isinstance(error, ResponseError) else "redis-unreachable"
    forbidden = next(filter(None, map(_permission, chain)), "") if slug == "redis-no-permission" else ""
    return Reason(slug, _HINTS[slug], forbidden)


def said_by_redis(error: BaseException) -> str:
    """Return the words of Redis's own refusal, which start with its error code; empty when it refused nothing.

    Arguments that Redis repeats are left out: a password is one of them where AUTH is not known.
    """
    for each in _chain(error):
        if isinstance(each, _REFUSALS):
            return bounded(str(each).partition(_REPEATS)[0].rstrip(", "), _SAID_CHARS)
    return ""


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _slug(error: BaseException) -> str | None:
    text = str(error)
    if isinstance(error, ssl.SSLError) or "[SSL" in text:
        return "redis-tls"
    if _TOO_MANY in text:
        return "redis-too-many-clients"
    if isinstance(error, ResponseError) and any(words in text for words in _NO_DATABASE):
        return "redis-no-database"
    if any(words in text for words in _FORBIDDEN):
        return "redis-no-permission"
    for kind, slug in _BY_CLASS:
        if isinstance(error, kind):
            return slug
    return _BY_WORD.get(text.lstrip("-").partition(" ")[0]) if isinstance(error, ResponseError) else None


def _permission(error: BaseException) -> str:
    text = str(error)
    if _A_KEY.search(text):
        return "a key"
    if found := _NAMED.search(text):
        return (found[1] or found[2]).lower()
    if found := _PLACE.search(text):
        return command_at(found[1], int(found[2]))
    return ""
