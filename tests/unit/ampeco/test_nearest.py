"""A misspelled name gets the known one that it may mean, and no odd text costs time."""

from __future__ import annotations

import time

import pytest

from ampeco.nearest import did_you_mean, nearest

KNOWN = ["HardwareStatusNotification", "SessionUpdateNotification", "charge-point.reset", "Größe.changed"]


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("HardwareStatusNotifcation", "HardwareStatusNotification"),
        ("HardwareStatus", "HardwareStatusNotification"),
        ("sessionupdatenotification", "SessionUpdateNotification"),
        ("charge_point.rest", "charge-point.reset"),
        ("GRÖSSE.changed", "Größe.changed"),
        ("invoice.paid", None),
        ("", None),
        ("\x00", None),
    ],
)
def test_the_nearest_known_name_is_found(name: str, found: str | None):
    assert nearest(name, KNOWN) == found
    assert did_you_mean(name, KNOWN) == ("" if found is None else f"; did you mean {found!r}?")


def test_nothing_known_is_near():
    assert nearest("anything", []) is None


def test_texts_from_outside_are_bounded():
    began = time.process_time()
    assert nearest("charge-point.reset" * 100_000, KNOWN) is None
    assert nearest("charge-point.rest", (f"{n}" * 10_000 for n in range(10**9))) is None
    assert time.process_time() - began < 5
