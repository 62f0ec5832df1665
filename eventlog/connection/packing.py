"""Packs Redis commands in C, for connections of the event loop."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import hiredis

from eventlog.connection.refusal import SaysWhy


class Packed(SaysWhy):
    """Packs commands in C, as redis-py does for its blocking client. A batch of 256 events has 3,300 arguments."""

    def pack_command(self, *args: Any) -> list[bytes]:
        words = args[0].split() if isinstance(args[0], str) else [args[0]]
        return [hiredis.pack_command((*words, *args[1:]))]

    def pack_commands(self, commands: Iterable[Iterable[Any]]) -> list[bytes]:
        return [packed for command in commands for packed in self.pack_command(*command)]
