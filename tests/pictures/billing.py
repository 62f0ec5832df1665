"""Handlers that fail now and then, so that the pictures have dead letters.

They are loaded as a file, as any plugin may be.
"""

from __future__ import annotations

from ampeco.notifications import HardwareStatus, SessionStartStop
from ampeco.states import Hardware
from handlers import Backoff, Context, Event, GiveUp, Skip, handler

QUICKLY = Backoff(base_s=1.0, cap_s=2.0)


@handler("acme.invoice", max_attempts=3, backoff=QUICKLY)
async def invoice(event: Event[SessionStartStop], ctx: Context) -> None:
    """Make an invoice of each session that has stopped."""
    session = event.payload
    if session.stopped_at is None:
        raise Skip("the session goes on")
    if int(session.session_id) % 4 == 1:
        raise GiveUp("the session has no tariff")
    if int(session.session_id) % 5 == 2:
        raise ConnectionError("the accounting system is away")


@handler("acme.maintenance", max_attempts=2, backoff=QUICKLY)
async def open_ticket(event: Event[HardwareStatus], ctx: Context) -> None:
    """Open a ticket for each fault."""
    if event.payload.hardware_status != Hardware.FAULTED:
        raise Skip("not a fault")
    if int(event.payload.charge_point_id) % 3 == 0:
        raise LookupError("this charge point has no contract")
