"""Payloads of the events this service makes itself. Their types start with `receiver.` and never reach AMPECO."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from pydantic import Field

from ampeco.notifications import Payload


class GapClosed(Payload):
    """A time is over of which events may be missing, such as an outage of the receiver.

    Attributes:
        reason: why: `no-receiver` (AMPECO could not deliver), `not-subscribed` (nothing was subscribed),
            `redis-rolled-back` (Redis lost what was accepted). Events of older receivers have none, and mean
            `no-receiver`.
        from_at: last moment before it, such as the last at which the endpoint was known to be open (UTC).
        to_at: first moment after it (UTC).
        types: notification types that were subscribed.
        callback_url: where AMPECO delivers to, which identifies our notification subscription; None when the
            service does not register itself.
    """

    notification_types: ClassVar[tuple[str, ...]] = ("receiver.gap.closed",)

    reason: str = "no-receiver"
    from_at: datetime = Field(alias="from")
    to_at: datetime = Field(alias="to")
    types: tuple[str, ...] = ()
    callback_url: str | None = None
