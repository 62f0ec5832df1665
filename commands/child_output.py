"""The output of child processes: copied to a file, and passed on line by line."""

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
    """Open a pipe for a child's output during the block, and yield its file descriptor (`Child(output=...)`).

    Args:
        file: receives every byte as it arrives.
        tell: called with each line, without its line end.
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
        # The children have ended, so the pipe has too. A grandchild that still runs must not block us.
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
    """Parse a line of our log into its fields; None for any other line, such as a handler's own output."""
    try:
        facts = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return facts if isinstance(facts, dict) and isinstance(facts.get("event"), str) else None
