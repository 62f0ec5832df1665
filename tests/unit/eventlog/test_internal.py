"""Internal events: their names, who wants them, and what a payload may hold."""

from __future__ import annotations

import json
import re

import pytest

from eventlog import internal
from eventlog.internal import internal_event, is_internal, is_wanted
from eventlog.scripts import source
from handlers.internal import PAYLOADS

NAMES = {
    value for value in vars(internal).values() if isinstance(value, str) and value.startswith("receiver.")
}


def test_each_name_has_a_payload_and_the_scripts_know_no_other():
    assert NAMES - {internal.INTERNAL} == PAYLOADS.keys()
    in_scripts = set(re.findall(r"'(receiver\.[a-z.]+)'", source("step"))) - {internal.INTERNAL}
    assert in_scripts <= PAYLOADS.keys()
    assert all(is_internal(name) for name in PAYLOADS)


@pytest.mark.parametrize("name", sorted(PAYLOADS))
def test_everything_leaves_internal_events_out(name):
    assert not is_wanted({"*"}, name)
    assert not is_wanted({"A"}, name)
    assert is_wanted({"*", name}, name)
    assert is_wanted({name}, name)


def test_everything_stands_for_all_others():
    assert is_wanted({"*"}, "A")
    assert is_wanted({"*"}, "receiver")
    assert is_wanted({"*"}, "Receiver.started")
    assert not is_wanted({"B"}, "A")


def test_texts_and_lists_of_a_payload_are_bounded():
    made = internal_event(
        "receiver.gap.closed", "receiver:door", {"reason": "x" * 5_000, "types": ["\ud800"] * 900, "count": 3}
    )
    body = json.loads(made.body)
    assert body["notification"] == "receiver.gap.closed"
    assert len(body["reason"]) == 1_000
    assert body["types"] == ["\\ud800"] * 500
    assert body["count"] == 3
