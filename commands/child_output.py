"""What child processes write, line by line: kept in a file, and told to whoever listens."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

_PIECE = 65_536
_LAST_LINES_S = 2.0


@contextlib.asynccontextmanager
async def lines_to(file: Path, tell: Callable[[str], None]) -> AsyncIterator[int]:
    """A pipe to write into for as long as the block lasts.

    Args:
        file: gets everything, as it comes.
        tell: gets every line, without its end.

    Yields:
        The file descriptor to give to a child (`Child(output=...)`).
    """
    receiving, sending = os.pipe()
    reader = asyncio.StreamReader()
    pipe = os.fdopen(receiving, "rb", buffering=0)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), pipe
    )
    copying = asyncio.create_task(_copy(reader, file, tell))
    try:
        yield sending
    finally:
        os.close(sending)
        # The children have ended, so the pipe has too; a stray grandchild must not hold us up.
        await asyncio.wait({copying}, timeout=_LAST_LINES_S)
        copying.cancel()
        await asyncio.gather(copying, return_exceptions=True)
        transport.close()


async def _copy(reader: asyncio.StreamReader, file: Path, tell: Callable[[str], None]) -> None:
    rest = b""
    with file.open("ab", buffering=0) as kept:
        while piece := await reader.read(_PIECE):
            kept.write(piece)
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                tell(line.decode(errors="replace"))
    if rest:
        tell(rest.decode(errors="replace"))


def facts_of(line: str) -> dict[str, Any] | None:
    """A line of our own log as fields; None for anything else, such as what a handler prints."""
    try:
        facts = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return facts if isinstance(facts, dict) and isinstance(facts.get("event"), str) else None
