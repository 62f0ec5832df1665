"""Who may do what: tokens, signed sessions in a cookie, and the tokens of forms. It knows no HTTP and keeps no state.

A session has a right only while its cookie carries a signature made with the key of that right's token. So a changed
token ends the right at once, in every process, and the holder of one token cannot forge the other right.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal, TypeAlias

from eventlog.text import bounded

Right: TypeAlias = Literal["act", "bodies"]
RIGHTS: Final[tuple[Right, ...]] = ("act", "bodies")
LASTS_S: Final = 12 * 3600
MOST_NAME_CHARS: Final = 60

_MOST_COOKIE_CHARS = 1_000
_MOST_TOKEN_CHARS = 1_000
_SALT = b"ampeco-receiver console session"


@dataclass(frozen=True)
class Session:
    """The rights of one person for a while.

    Attributes:
        name: the name given at the log-in, for the audit; nothing proves it.
        ends_s: Unix time in seconds.
        nonce: tells sessions of the same name apart.
    """

    name: str
    rights: frozenset[Right]
    ends_s: int
    nonce: str


class Sessions:
    """Makes and checks sessions.

    Args:
        tokens: returns the token of each right that can be had; called at each check, since tokens may change.
        now_s: Unix time in seconds.
    """

    def __init__(
        self, tokens: Callable[[], Mapping[Right, str]], now_s: Callable[[], float] = time.time
    ) -> None:
        self._tokens = tokens
        self._now_s = now_s

    @property
    def possible(self) -> frozenset[Right]:
        """The rights that a log-in can give."""
        return frozenset(self._tokens())

    def begin(self, token: str, name: str, before: Session | None = None) -> Session | None:
        """Return a session with the rights of a token and those of the session before; None for a wrong token."""
        given = token.encode("utf-8", "replace")[:_MOST_TOKEN_CHARS]
        # Every token is compared, so that the time does not say which one was nearly right.
        gained = [
            right for right, known in self._tokens().items() if hmac.compare_digest(known.encode(), given)
        ]
        if not gained:
            return None
        rights = frozenset(gained) | (before.rights if before else frozenset())
        ends_s = int(self._now_s()) + LASTS_S
        if before is not None and before.rights.difference(gained):
            ends_s = min(ends_s, before.ends_s)  # a right lasts no longer than its own token gave it
        return Session(bounded(name.strip(), MOST_NAME_CHARS), rights, ends_s, secrets.token_urlsafe(12))

    def cookie(self, session: Session) -> str:
        """Return the text of a session's cookie: who, until when, and one signature for each right."""
        payload = _encoded(
            json.dumps([session.name, session.ends_s, session.nonce], ensure_ascii=False).encode()
        )
        tokens = self._tokens()
        signed = [
            f"{right}={_signature(tokens[right], 'session', payload)}"
            for right in RIGHTS
            if right in session.rights and right in tokens
        ]
        return ".".join([payload, *signed])

    def read(self, cookie: str) -> Session | None:
        """Return the session of a cookie; None if it is over, forged, or of tokens that are gone."""
        if len(cookie) > _MOST_COOKIE_CHARS or not cookie.isascii():
            return None
        payload, *signed = cookie.split(".")
        rights = frozenset(self._proven(payload, signed))
        if not rights:
            return None
        try:
            name, ends_s, nonce = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        except ValueError:
            return None
        return Session(name, rights, ends_s, nonce) if self._now_s() < ends_s else None

    def form_token(self, session: Session) -> str:
        """Return what each form of a session carries, which no other site can know."""
        token = self._token_of(session)
        return "" if token is None else _signature(token, "form", session.nonce)

    def token_id(self, session: Session) -> str:
        """Return the id of the token that gave a session its right to act, else to read bodies, as of a key."""
        token = self._token_of(session)
        return "" if token is None else hashlib.sha256(token.encode()).hexdigest()[:8]

    def is_form_token(self, session: Session, given: str) -> bool:
        """Return whether a form was made for this session."""
        known = self.form_token(session)
        return bool(known) and hmac.compare_digest(known.encode(), given.encode("utf-8", "replace"))

    def _token_of(self, session: Session) -> str | None:
        tokens = self._tokens()
        return next((tokens[right] for right in RIGHTS if right in session.rights and right in tokens), None)

    def _proven(self, payload: str, signed: Iterable[str]) -> Iterable[Right]:
        given = dict(part.partition("=")[::2] for part in signed)
        for right, token in self._tokens().items():
            known = _signature(token, "session", payload)
            if hmac.compare_digest(known.encode(), given.get(right, "").encode()):
                yield right


class Throttle:
    """Bounds how often something may fail, for each address and for all; counts in this process.

    Args:
        each, all_: failures per minute.
    """

    def __init__(self, each: int = 5, all_: int = 60, now_s: Callable[[], float] = time.monotonic) -> None:
        self._each = each
        self._all = all_
        self._now_s = now_s
        self._failures: list[tuple[float, str]] = []

    def is_open(self, address: str) -> bool:
        """Return whether another trial from an address is allowed now."""
        before_s = self._now_s() - 60
        self._failures = [one for one in self._failures if one[0] > before_s]
        own = sum(1 for _, of in self._failures if of == address)
        return own < self._each and len(self._failures) < self._all

    def failed(self, address: str) -> None:
        """Count a failure."""
        self._failures.append((self._now_s(), address))


@lru_cache(maxsize=8)
def _key(token: str) -> bytes:
    """Derive the key of a token slowly, since a cookie could be used to try tokens."""
    return hashlib.scrypt(token.encode(), salt=_SALT, n=1 << 12, r=8, p=1, dklen=32)


def _signature(token: str, use: str, text: str) -> str:
    return _encoded(hmac.digest(_key(token), f"{use}\n{text}".encode(), "sha256"))


def _encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
