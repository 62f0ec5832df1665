"""The handler of the alert tests. The body of an event says what becomes of it."""

from __future__ import annotations

from handlers import Backoff, Context, Event, GiveUp, Raw, handler

TYPE = "SessionUpdateNotification"
FAILS = 3  # attempts


@handler("mail", on=[TYPE], start="oldest", backoff=Backoff(base_s=0.1, cap_s=0.1), max_attempts=10)
async def mail(event: Event[Raw], ctx: Context) -> None:
    """End well, fail for a few attempts, or give up."""
    match event.payload.data["fate"]:
        case "fails" if ctx.attempt <= FAILS:
            raise RuntimeError("no answer")
        case "hopeless":
            raise GiveUp("no address")
