"""Notices that the secret files changed, and reads the settings again.

A mounted secret changes without a restart of the process: new keys count at once. Everything else that is
configured stays as it was at the start; a change that cannot be read changes nothing and is said so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from receiver.errors import SettingsError
from receiver.logging import get_logger
from receiver.settings import Settings
from receiver.settings_source import PREFIX

POLL_S = 2.0

Fingerprint: TypeAlias = tuple[tuple[str, int, int, int], ...]
_log = get_logger(__name__)


def fingerprint(folder: Path) -> Fingerprint:
    """What changes when a file in the folder does; empty when the folder cannot be read."""
    found = []
    try:
        for path in sorted(folder.iterdir()):
            if path.name.startswith(PREFIX):
                stat = path.stat()
                found.append((path.name, stat.st_mtime_ns, stat.st_ino, stat.st_size))
    except OSError:
        return ()
    return tuple(found)


class SecretFiles:
    """Watches one folder."""

    def __init__(
        self, folder: Path, reload: Callable[[], Settings], changed: Callable[[Settings], None]
    ) -> None:
        """
        Args:
            reload: reads all settings anew; raises SettingsError.
            changed: called with settings that were read after a change, and once at the first look, since
                a file may have changed between the start of the process and then.
        """
        self._folder = folder
        self._reload = reload
        self._changed = changed
        self._seen: Fingerprint | None = None

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            await asyncio.sleep(POLL_S)
            self.look()

    def look(self) -> None:
        """Read anew if a file changed since the last look."""
        now = fingerprint(self._folder)
        if now == self._seen:
            return
        self._seen = now
        try:
            settings = self._reload()
        except SettingsError as error:
            _log.error("settings.change_refused", setting=error.setting, fault=error.fault, mend=error.mend)
        else:
            self._changed(settings)
