"""For the demo: a charge point that reports a fault gets one reset."""

from __future__ import annotations

from ampeco.notifications import HardwareStatus
from ampeco.states import Hardware
from handlers import Context, Event, Skip, handler


@handler("demo.reset-faulted", calls=["charge-point.reset"], dry_run=True)
async def reset_faulted(event: Event[HardwareStatus], ctx: Context) -> None:
    """Reset a charge point that reports a fault; a reset may be repeated, so a retry does no harm."""
    status = event.payload
    if status.hardware_status != Hardware.FAULTED:
        raise Skip("not a fault")
    await ctx.ampeco.actions.charge_point.reset(status.charge_point_id, "soft")
