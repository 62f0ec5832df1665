"""An event whose times are worked out when they are asked for is in every other way an event like any other."""

from __future__ import annotations

import copy
from dataclasses import FrozenInstanceError, replace
from datetime import UTC, datetime
from typing import Any

import pytest

from ampeco.models.fields import Number
from ampeco.notifications import Payload
from handlers import Event, Raw
from handlers.event import event_dated_later

RECEIVED = datetime(2026, 11, 24, 6, tzinfo=UTC)
OCCURRED = datetime(2026, 11, 24, 5, 59, tzinfo=UTC)


def plain(**changes: Any) -> Event[Raw]:
    return replace(
        Event(
            id="0-1-0",
            type="t",
            key="session:1",
            received_at=RECEIVED,
            occurred_at=OCCURRED,
            payload=Raw({"notification": "t"}),
            raw=b"{}",
        ),
        **changes,
    )


def dated_later(asked: list[str] | None = None) -> Event[Raw]:
    def find_time(name: str) -> datetime:
        (asked if asked is not None else []).append(name)
        return OCCURRED if name == "occurred_at" else RECEIVED

    return event_dated_later(
        find_time,
        id="0-1-0",
        type="t",
        key="session:1",
        payload=Raw({"notification": "t"}),
        raw=b"{}",
        maybe_repeat=False,
        replayed=False,
    )


def test_its_times_are_looked_for_once_and_only_when_asked_for():
    asked: list[str] = []
    event = dated_later(asked)
    assert (event.id, event.key, event.raw, event.replayed) == ("0-1-0", "session:1", b"{}", False)
    assert asked == []
    assert (event.occurred_at, event.occurred_at, event.received_at) == (OCCURRED, OCCURRED, RECEIVED)
    assert asked == ["occurred_at", "received_at"]


def test_it_equals_and_looks_like_one_that_was_made_with_its_times():
    assert dated_later() == plain()
    assert plain() == dated_later()
    assert repr(dated_later()) == repr(plain())
    assert dated_later() != plain(occurred_at=None)
    assert type(dated_later()) is Event


def test_it_can_be_copied_and_changed():
    assert copy.copy(dated_later()) == plain()
    assert replace(dated_later(), replayed=True) == plain(replayed=True)
    assert copy.deepcopy(dated_later()) == plain()


def test_it_ties_a_payload_to_its_bytes() -> None:
    class Paid(Payload):
        amount: Number | None = None

    raw = b'{"amount": "12.50"}'
    event = plain(payload=Paid.model_validate_json(raw), raw=raw, misfits=("x",))
    assert str(event.payload.exact("amount")) == "12.50"
    assert (event.misfits, plain().misfits, dated_later().misfits) == (("x",), (), ())


def test_it_is_as_frozen_as_any_and_knows_no_other_names():
    event = dated_later()
    with pytest.raises(FrozenInstanceError):
        event.occurred_at = None  # type: ignore[misc]
    for one in (event, plain()):
        with pytest.raises(AttributeError, match="'Event' object has no attribute 'happened_at'"):
            one.happened_at  # type: ignore[attr-defined]  # noqa: B018
