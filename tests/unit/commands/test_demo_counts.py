"""When the numbers of the demo add up, and how they are said not to."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from commands.demo_counts import HandlerTally, Tally, count, shortfalls, within_ms
from commands.demo_view import summary
from eventlog.inspection.events import LogCounts
from eventlog.registry import HandlerPosition

COMPLETE = Tally(
    sent=100,
    delivered=100,
    resent=10,
    answers={"200": 100, "503": 2, "connect-error": 30},
    actions={"charge-point.reset": 3},
    accepted=99,
    duplicates=1,
    gaps=1,
    handlers=(HandlerTally("journal", 40, done=10, skipped=30), HandlerTally("resend", 1, done=1)),
)
NAMES = ("journal", "resend")


def test_everything_arrived_and_handled_is_complete() -> None:
    assert shortfalls(COMPLETE, NAMES) == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"sent": 0, "delivered": 0, "accepted": 0, "duplicates": 0, "answers": {}}, "nothing was sent"),
        ({"pending": 2}, "2 of 100 notifications did not arrive: on their way"),
        ({"failed": 3}, "3 of 100 notifications did not arrive: given up"),
        ({"dropped": 4}, "4 of 100 notifications did not arrive: dropped"),
        ({"accepted": 97}, "100 were answered as accepted, but only 98 are in the log"),
        ({"quarantined": 1}, "1 could not be read and are in quarantine"),
        ({"handlers": COMPLETE.handlers[:1]}, "handler resend is not there"),
        (
            {"handlers": (HandlerTally("journal", 40, done=39), COMPLETE.handlers[1])},
            "journal handled 39 of 40 events",
        ),
        (
            {"handlers": (COMPLETE.handlers[0], HandlerTally("resend", 1, dead=1))},
            "resend gave up on 1 events",
        ),
    ],
)
def test_whatever_is_missing_is_named(changes: dict[str, Any], said: str) -> None:
    assert said in shortfalls(replace(COMPLETE, **changes), NAMES)


def test_numbers_of_all_sides_come_together() -> None:
    tenant = {
        "sent": 7, "delivered": 7, "pending": 0, "failed": 0, "dropped": 0, "resent": 2,
        "answers": {"200": 7, "connect-error": 3}, "action_counts": {"charge-point.reset": 1},
    }  # fmt: skip
    log = LogCounts(6, 1, 0, {"A": 4, "B": 2}, {"receiver.gap.closed": 1})

    def position(name: str, *types: str, **stats: int) -> HandlerPosition:
        return HandlerPosition(
            name, "1", types, "default", "entity", last_seen_ms=0, waiting=0, open=0, dead=0, stats=stats
        )

    positions = [position("a", "A", done=3, skipped=1, **{"ms<=5": 4}), position("all", "*", done=6)]
    tally = count(tenant, log, positions, forged={"401": 1})

    assert [(one.wanted, one.handled, one.lag) for one in tally.handlers] == [(4, 4, 0), (6, 6, 0)]
    assert tally.handlers[0].latencies == {5: 4}
    assert (tally.refused, tally.unanswered, tally.welcomed, tally.gaps) == ({"401": 1}, 3, 7, 1)
    assert shortfalls(tally, ("a", "all")) == []


def test_quantiles_are_bounds_of_the_histogram() -> None:
    latencies = {5: 90, 10: 9, 1000: 1}
    assert [within_ms(latencies, share) for share in (0.5, 0.9, 0.99, 1.0)] == [5, 5, 10, 1000]
    assert within_ms({}, 0.5) is None


def test_the_summary_shows_refusals_apart_from_a_shut_door() -> None:
    lines = "\n".join(summary(COMPLETE))
    assert "refused            2   503: 2\n" in lines
    assert "unreachable       30 " in lines
    assert "charge-point.reset: 3" in lines
