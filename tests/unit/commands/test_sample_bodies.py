"""Single notifications by hand: what a type looks like, and fields that are changed."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from ampeco.notifications import parse
from ampeco.simulator.fleet.announcements import ANNOUNCED
from ampeco.simulator.fleet.samples import sample
from commands.sample_bodies import PathError, change, charge_point_of

AT = datetime(2026, 11, 24, tzinfo=UTC)


@pytest.mark.parametrize("notification", sorted(ANNOUNCED))
def test_a_sample_is_what_the_receiver_reads(notification: str) -> None:
    body = sample(notification, AT)
    read = parse(json.dumps(body).encode())
    about = None if notification == "cdr.received" else 1  # it names no charge point
    assert (read.type, read.misfits, charge_point_of(body)) == (notification, (), about)


def test_other_known_types_look_like_their_sample_and_of_others_only_the_name_is_known() -> None:
    assert sample("evse.changed", AT)["evseId"] == 11
    assert sample("new.type", AT) == {"notification": "new.type"}
    assert charge_point_of({"notification": "cdr.received"}) is None


@pytest.mark.parametrize(
    ("text", "changed"),
    [
        ("a=1", {"a": 1, "b": {"c": [1, {"d": 2}]}}),
        ("a=one=two", {"a": "one=two", "b": {"c": [1, {"d": 2}]}}),
        ("a=", {"a": "", "b": {"c": [1, {"d": 2}]}}),
        ("b.c.1.d=null", {"a": 0, "b": {"c": [1, {"d": None}]}}),
        ("b.c.0=[]", {"a": 0, "b": {"c": [[], {"d": 2}]}}),
        ("new.deep=x", {"a": 0, "b": {"c": [1, {"d": 2}]}, "new": {"deep": "x"}}),
    ],
)
def test_a_field_is_changed_wherever_it_is(text: str, changed: dict[str, Any]) -> None:
    body: dict[str, Any] = {"a": 0, "b": {"c": [1, {"d": 2}]}}
    change(body, [text])
    assert body == changed


@pytest.mark.parametrize("text", ["a", "=1", "a..b=1", "a.b=1", "b.c.7=1", "b.c.x.y=1"])
def test_what_leads_nowhere_is_refused(text: str) -> None:
    with pytest.raises(PathError):
        change({"a": 0, "b": {"c": [1]}}, [text])
