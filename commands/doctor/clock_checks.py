"""Checks of clocks: ours against that of Redis, and against that of the tenant."""

from __future__ import annotations

from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from commands.doctor.finding import Finding, fault, ok, unknown, warn

if TYPE_CHECKING:
    from commands.doctor.deployment import Deployment

_NEAR_S, _OFF_S, _FAR_OFF_S = 1.0, 5.0, 60.0


async def against_redis(about: Deployment) -> Finding:
    """Does the clock of Redis agree with ours?"""
    from eventlog.inspection.server_facts import clock_difference_s

    return judged("the clock of Redis", await clock_difference_s(await about.log()))


async def against_tenant(about: Deployment) -> Finding:
    """Does the tenant's clock, as its Date header has it, agree with ours?"""
    answer = await about.front_page()
    try:
        there = parsedate_to_datetime(answer.date)
        ahead_s = (there if there.tzinfo else there.replace(tzinfo=UTC)).timestamp() - answer.at_s
    except (ValueError, TypeError, OverflowError):
        return unknown("the tenant sends no Date header that can be read")
    return judged("the tenant's clock", ahead_s + 0.5)  # the header has whole seconds


def judged(whose: str, ahead_s: float) -> Finding:
    """Judge by how many seconds a clock is ahead of ours."""
    if abs(ahead_s) < _NEAR_S:
        return ok(f"{whose} agrees with ours")
    what = f"{whose} is {abs(ahead_s):.1f} s {'ahead of' if ahead_s > 0 else 'behind'} ours"
    if abs(ahead_s) > _FAR_OFF_S:
        return fault(what, "let NTP set the clocks: signed timestamps and windows of resends would be wrong")
    if abs(ahead_s) > _OFF_S:
        return warn(what, "let NTP set the clocks")
    return ok(what)
