"""A folder that only this user may enter. The embedded store listens and keeps its data in one."""

from __future__ import annotations

import os
import stat
from pathlib import Path


class NotPrivate(Exception):
    """The folder is not ours alone, so another user could stand in for the store. The text says why."""


def make_private(folder: Path) -> None:
    """Create a folder for this user alone, or close one of ours to others.

    Raises:
        NotPrivate: it belongs to another user, or is not a folder.
        OSError: it cannot be created or changed.
    """
    try:
        folder.mkdir(parents=True, mode=0o700)
    except FileExistsError:
        _check_owner(folder, folder.lstat())
    folder.chmod(0o700)  # `mkdir` obeys the umask, and the folder may be older


def check_private(folder: Path) -> None:
    """Check that a folder is ours and closed to others.

    Raises:
        NotPrivate: it is not.
        OSError: there is none.
    """
    found = folder.lstat()  # not `stat`: a link could be pointed elsewhere
    _check_owner(folder, found)
    if found.st_mode & 0o077:
        raise NotPrivate(f"{folder} is open to other users")


def _check_owner(folder: Path, found: os.stat_result) -> None:
    if not stat.S_ISDIR(found.st_mode):
        raise NotPrivate(f"{folder} is not a folder")
    if found.st_uid != os.geteuid():
        raise NotPrivate(f"{folder} belongs to another user")
