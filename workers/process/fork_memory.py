"""Keeps the faults that the forks of one process find, for the forks that follow.

Forks share one piece of memory with their parent and come one after the other, so nothing has to be locked.
"""

from __future__ import annotations

import json
import mmap
from collections.abc import Sequence

from eventlog.handler_faults import Fault, packed, unpacked

_BYTES = 1 << 20  # more than `packed` makes; memory that is not written takes no room
_HEAD = 4  # bytes of the length


class ForkMemory:
    """Faults that the last fork left. Make it before the first fork."""

    def __init__(self) -> None:
        self._shared = mmap.mmap(-1, _BYTES)

    def faults(self) -> tuple[Fault, ...]:
        """Return the faults that are known; none if a fork died while it wrote them."""
        length = int.from_bytes(self._shared[:_HEAD], "big")
        try:
            return unpacked(json.loads(self._shared[_HEAD : _HEAD + length] or b"[]"))
        except ValueError:
            return ()

    def keep(self, faults: Sequence[Fault]) -> None:
        """Replace the faults that are known."""
        said = json.dumps(packed(faults)).encode()
        if len(said) > _BYTES - _HEAD:
            said = b"[]"
        self._shared[:_HEAD] = (0).to_bytes(_HEAD, "big")
        self._shared[_HEAD : _HEAD + len(said)] = said
        self._shared[:_HEAD] = len(said).to_bytes(_HEAD, "big")
