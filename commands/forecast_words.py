"""Describes how much room the log needs at the rate of the last hour."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eventlog.inspection.forecast import Forecast

_MIB = 1 << 20


def forecast_words(found: Forecast) -> str:
    """Return a clause about the limit of the log, and for how long events fit in."""
    rate = f"{found.per_hour:,.0f} events of {found.event_bytes:,.0f} bytes an hour"
    needed, most = (f"{count / _MIB:,.0f} MiB" for count in (found.needed_bytes, found.max_bytes))
    words = f"{rate}, kept for {found.keep_hours} h, need {needed} of {most}"
    return words if found.fits else f"{words}, so settled ones go after {found.hours:.1f} h"


def forecast_document(found: Forecast | None) -> dict[str, Any] | None:
    """Return the forecast as JSON output shows it."""
    if found is None:
        return None
    return {
        "events_per_hour": round(found.per_hour),
        "bytes_per_event": round(found.event_bytes),
        "keep_hours": found.keep_hours,
        "needed_bytes": found.needed_bytes,
        "max_bytes": found.max_bytes,
        "fits": found.fits,
        "hours": round(found.hours, 1),
    }
