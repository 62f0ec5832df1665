"""The register of finished sessions, in SQLite."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path


class SessionRegister:
    """One row per session; writing one again changes nothing."""

    def __init__(self, file: Path) -> None:
        self._file = file
        with self._opened() as database:
            database.execute("CREATE TABLE IF NOT EXISTS sessions (id TEXT PRIMARY KEY, energy_wh REAL)")

    def write(self, session_id: str, energy_wh: float) -> None:
        """Keep a session."""
        with self._opened() as database:
            database.execute("INSERT OR REPLACE INTO sessions VALUES (?, ?)", (session_id, energy_wh))

    def sessions(self) -> dict[str, float]:
        """Return the energy of each session by its id."""
        with self._opened() as database:
            return dict(database.execute("SELECT id, energy_wh FROM sessions ORDER BY id").fetchall())

    @contextlib.contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        with contextlib.closing(sqlite3.connect(self._file)) as database, database:
            yield database
