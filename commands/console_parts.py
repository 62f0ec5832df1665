"""The parts that the console gets from the other rooms: a log of its own, tokens that may change, and words."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from console.sessions import Right
    from console.wording import Wording
    from receiver.settings import Settings

_CONNECTIONS = 4
_REDIS_S = 1.5  # less than a page may take, so that a page says that Redis is away


@contextlib.asynccontextmanager
async def console_of(settings: Settings, redis_url: str, stop: asyncio.Event) -> AsyncIterator[ASGIApp]:
    """Make the console's application, to be mounted at `/console`, and close its connections afterwards.

    It connects when a page is asked for, so it needs no Redis at the start.

    Args:
        stop: set when the process stops.
    """
    from commands.console_bodies import ConsoleBodies
    from commands.console_resends import resends_of
    from commands.options import log_of
    from console.application import application
    from eventlog.connection.connect import connect

    redis = connect(redis_url, timeout_s=_REDIS_S, max_connections=_CONNECTIONS)
    try:
        yield application(
            log_of(settings, redis),
            wording=wording(),
            tokens=_Tokens(settings),
            stop=stop,
            hosts=_own_names(settings),
            bodies=ConsoleBodies(settings),
            resends=resends_of(settings),
        )
    finally:
        await redis.aclose()


def wording() -> Wording:
    """Return the command line's words for what the log knows."""
    from commands.attention import needs
    from commands.body_shape import shape
    from commands.delivery_text import call_words, with_authors_words
    from commands.explain_text import gap_words, lines
    from commands.fault_words import fault_words
    from commands.options import moment_ms
    from commands.outage_words import away_words
    from commands.spans import span
    from commands.status import fields
    from console.wording import Wording

    return Wording(
        needs=needs,
        facts=fields,
        delivery=with_authors_words,
        call=call_words,
        explained=lambda found: lines(found, ()),
        gap=gap_words,
        away=away_words,
        fault=fault_words,
        span=span,
        shape=shape,
        moment=lambda text, now_ms: moment_ms(text, now_ms=now_ms),
    )


def _own_names(settings: Settings) -> frozenset[str]:
    """Return the names that certainly lead to this machine: no web page can take them over.

    They are in lower case, and have no dot at the end.
    """
    names = (socket.gethostname(), settings.admin_host, *(settings.console_hosts or ()))
    return frozenset(name.lower().removesuffix(".") for name in names)


class _Tokens:
    """The tokens of the console, read again when a secret file changed.

    While changed settings are refused, the tokens from before count.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._seen = self._state()
        self._tokens = _tokens(settings)

    def __call__(self) -> Mapping[Right, str]:
        if self._settings.secrets_dir is not None and (now := self._state()) != self._seen:
            from receiver.errors import SettingsError
            from receiver.settings import load

            with contextlib.suppress(SettingsError):  # the watcher of the other settings logs it
                self._tokens = _tokens(load(os.environ))
            self._seen = now
        return self._tokens

    def _state(self) -> object:
        from receiver.secret_files import fingerprint

        folder = self._settings.secrets_dir
        return None if folder is None else fingerprint(folder)


def _tokens(settings: Settings) -> dict[Right, str]:
    found: dict[Right, str] = {}
    if settings.console_token is not None:
        found["act"] = settings.console_token.get_secret_value()
    if settings.console_bodies_token is not None:
        found["bodies"] = settings.console_bodies_token.get_secret_value()
    return found
