"""The interface to AMPECO, which the composition root gives to the console. Only an operator's act uses it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from eventlog.log import EventLog

Plan: TypeAlias = Mapping[str, Any]
"""`id` of the notification subscription, `from` and `to` in RFC 3339, and `types`."""


class ResendRefused(Exception):
    """No resend was asked for, or AMPECO refused it.

    Attributes:
        reason: stable slug.
    """

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


@dataclass(frozen=True)
class Resends:
    """Two functions that call AMPECO. Both raise ResendRefused.

    Attributes:
        plan: finds our subscription and returns the plan, from the log, two times (Unix ms) and types.
        ask: asks for what a plan says.
    """

    plan: Callable[[EventLog, int, int, Sequence[str]], Awaitable[Plan]]
    ask: Callable[[Plan], Awaitable[None]]
