"""What the parts of one drain share."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from eventlog.lease import Lease
from workers.delivery.attempt import Runtime
from workers.drain.entity_records import EntityRecords
from workers.drain.settlement import PendingOutcomes
from workers.drain.shared import Shared
from workers.drain.window import Window


@dataclass(frozen=True)
class DrainParts:
    """The lease of a lane, and the state of the drain that holds it.

    Attributes:
        shared: with other drains of the process.
        wake: set when the drain must look again.
        log: writes lines that name the handler and the lane.
        records: what the handler keeps of entities; None when it keeps nothing.
    """

    lease: Lease
    runtime: Runtime
    shared: Shared
    window: Window
    pending: PendingOutcomes
    wake: asyncio.Event
    log: Any
    records: EntityRecords | None
