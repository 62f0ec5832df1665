"""Asks AMPECO for a resend on behalf of the console, as `gaps resend` does, with this process's token."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING

from commands.resend_request import ask_for_resend, client_of, failure, plan_resend

if TYPE_CHECKING:
    from console.resends import Plan, Resends
    from eventlog.log import EventLog
    from receiver.settings import Settings

_MOST_S = 15.0  # less than an act of the console may take


def resends_of(settings: Settings) -> Resends | None:
    """Return how the console asks for resends; None where this process has no tenant or no token."""
    from console.resends import Resends

    if settings.tenant_url is None or settings.api_token is None:
        return None
    asking = _Asking(settings)
    return Resends(asking.plan, asking.ask)


class _Asking:
    """Opens a client for each request, since an operator asks once in 15 minutes at most."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    async def plan(self, log: EventLog, from_ms: int, to_ms: int, types: Sequence[str]) -> Plan:
        from eventlog.ownership import check_tenant

        settings = self._current()
        async with _in_words(), client_of(settings) as client:
            await check_tenant(log, settings.tenant_url or "")
            return await plan_resend(log, settings, client, (from_ms, to_ms), types)

    async def ask(self, plan: Plan) -> None:
        async with _in_words(), client_of(self._current()) as client:
            await ask_for_resend(client, dict(plan))

    def _current(self) -> Settings:
        """Return the settings with a token that may have changed in its file; the old ones while that is refused."""
        from receiver.errors import SettingsError
        from receiver.settings import load

        if self._settings.secrets_dir is not None:
            with contextlib.suppress(SettingsError):
                found = load(os.environ)
                if found.tenant_url is not None and found.api_token is not None:
                    return found
        return self._settings


@contextlib.asynccontextmanager
async def _in_words() -> AsyncIterator[None]:
    """Turn what AMPECO or the settings refuse into the sentence that the command prints."""
    import click

    from ampeco.errors import ApiError, Unreachable
    from console.resends import ResendRefused
    from receiver.errors import SettingsError

    try:
        async with asyncio.timeout(_MOST_S):
            yield
    except Unreachable as error:
        raise ResendRefused("ampeco-unreachable", str(error)) from error
    except ApiError as error:
        words = failure(error)
        said = words.format_message() if isinstance(words, click.ClickException) else str(words)
        raise ResendRefused("ampeco-refused", said) from error
    except click.ClickException as error:
        raise ResendRefused("no-subscription", error.format_message()) from error
    except SettingsError as error:
        raise ResendRefused("settings", str(error)) from error
    except TimeoutError as error:
        said = f"AMPECO did not answer within {_MOST_S:.0f} s; it is unknown what it accepted"
        raise ResendRefused("ampeco-slow", said) from error
