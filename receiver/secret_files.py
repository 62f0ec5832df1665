"""Watches the secret files, and reads the settings again after a change.

A mounted secret may change while the process runs. New keys count at once; other settings need a restart. If the
changed settings are refused, the process logs it and keeps the old ones.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from ampeco.key_text import SHORT_CHARS
from ampeco.regular_file import read_regular
from eventlog.connection import credentials
from receiver.errors import SettingsError
from receiver.logging import get_logger
from receiver.settings import Settings
from receiver.settings_source import PREFIX

POLL_S = 2.0

Fingerprint: TypeAlias = tuple[tuple[str, int], ...]
_warned: set[int] = set()
_log = get_logger(__name__)


def fingerprint(folder: Path) -> Fingerprint:
    """Return a value that changes when the text of a file does; empty when one of them cannot be read."""
    try:
        paths = [path for path in sorted(folder.iterdir()) if path.name.startswith(PREFIX)]
        return tuple((path.name, hash(read_regular(path))) for path in paths)
    except OSError:
        return ()


class SecretFiles:
    """Watches one folder."""

    def __init__(
        self, folder: Path, reload: Callable[[], Settings], changed: Callable[[Settings], None]
    ) -> None:
        """
        Args:
            reload: reads all settings again; raises SettingsError.
            changed: called with the settings after a change. The second check calls it in any case, since a file
                may have changed after the process read its settings.
        """
        self._folder = folder
        self._reload = reload
        self._changed = changed
        self._seen: Fingerprint | None = None
        self._before: Fingerprint | None = None

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            await asyncio.sleep(POLL_S)
            self.check()

    def check(self) -> None:
        """Read the settings again if a file changed, and not since the last check.

        A file may be half written. Half a key would be accepted, and the whole one refused.
        """
        before, now = self._before, fingerprint(self._folder)
        self._before = now
        if now != before or now == self._seen:
            return
        first, self._seen = self._seen is None, now
        try:
            settings = self._reload()
        except SettingsError as error:
            _log.error("settings.change_refused", setting=error.setting, fault=error.fault, fix=error.fix)
        else:
            if not first:
                warn_of_short_keys(settings)
            self._changed(settings)


def warn_of_short_keys(settings: Settings) -> None:
    """Warn of keys that could be guessed, once in this process for each value."""
    for name in settings.short_keys:
        held = hash((name, settings.api_token, settings.signing_keys))
        if held not in _warned:
            _warned.add(held)
            _log.warning("settings.short_key", setting=name, shorter_than=SHORT_CHARS)


def log_redis_change(before: Settings, fresh: Settings) -> None:
    """Log whether another AWR_REDIS_URL is in use already, or needs a restart."""
    old, new = (one.redis_url.get_secret_value() if one.redis_url else "" for one in (before, fresh))
    if credentials.without_login(new) != credentials.without_login(old):
        _log.warning("settings.restart_needed", setting="AWR_REDIS_URL")
    elif new != old:
        _log.info("redis.login_changed")
