"""Payloads of the events this service makes itself. Their types start with `receiver.` and never reach AMPECO."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from pydantic import Field

from ampeco.notifications import Payload


class GapClosed(Payload):
    """The receiver was away for a while and is back: what failed meanwhile can be asked for.

    Attributes:
        from_at: last moment at which the endpoint was known to be open (UTC).
        to_at: first moment at which it was known to be open again (UTC).
        types: notification types that were subscribed.
        callback_url: where AMPECO delivers to, which identifies our notification subscription; None when the
            service does not register itself.
    """

    notification_types: ClassVar[tuple[str, ...]] = ("receiver.gap.closed",)

    from_at: datetime = Field(alias="from")
    to_at: datetime = Field(alias="to")
    types: tuple[str, ...] = ()
    callback_url: str | None = None
