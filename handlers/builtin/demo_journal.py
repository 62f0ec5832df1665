"""For the demo: writes a line per finished session with energy and duration."""

from __future__ import annotations

from ampeco.notifications import SessionStartStop
from handlers import Context, Event, Skip, handler


@handler("demo.journal", dry_run=True)
async def journal(event: Event[SessionStartStop], ctx: Context) -> None:
    """Write one log line per session that has stopped."""
    session = event.payload
    if session.stopped_at is None:
        raise Skip("the session goes on")
    ctx.log.info(
        "session.finished",
        session_id=session.session_id,
        charge_point_id=session.charge_point_id,
        energy_wh=session.energy_consumed_wh,
        duration_s=round((session.stopped_at - session.started_at).total_seconds()),
    )
