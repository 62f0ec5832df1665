"""What ids and names in the log look like. A text that claims to be one is compared before it reaches Redis."""

from __future__ import annotations

import re
from typing import Final

STREAM_ID: Final = re.compile(r"[0-9]{1,19}-[0-9]{1,19}")  # Redis refuses numbers beyond 64 bits
EVENT_ID: Final = re.compile(rf"([0-9]{{1,4}})-({STREAM_ID.pattern})")
"""The lane, and the stream id in it."""

HANDLER_NAME: Final = re.compile(r"[a-z0-9][a-z0-9.-]{0,63}")
"""As `handlers.declaration` has it, which imports nothing of this room."""


def id_order(stream_id: str) -> tuple[int, int]:
    """Return a stream id as numbers that compare in log order."""
    ms, _, seq = stream_id.partition("-")
    return int(ms), int(seq)
