"""An event is a plain frozen dataclass, tied to the bytes it came from."""

from __future__ import annotations

import copy
from dataclasses import FrozenInstanceError, replace
from datetime import UTC, datetime
from typing import Any

import pytest

from ampeco.models.fields import Number
from ampeco.notifications import Payload
from handlers import Event, Raw

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


def test_it_can_be_copied_and_changed():
    assert copy.copy(plain()) == plain()
    assert replace(plain(), replayed=True).replayed
    assert copy.deepcopy(plain()) == plain()


def test_it_ties_a_payload_to_its_bytes() -> None:
    class Paid(Payload):
        amount: Number | None = None

    raw = b'{"amount": "12.50"}'
    event = plain(payload=Paid.model_validate_json(raw), raw=raw, misfits=("x",))
    assert str(event.payload.exact("amount")) == "12.50"
    assert (event.misfits, plain().misfits) == (("x",), ())


def test_it_is_frozen_and_knows_no_other_names():
    event = plain()
    with pytest.raises(FrozenInstanceError):
        event.occurred_at = None  # type: ignore[misc]
    with pytest.raises(AttributeError, match="'Event' object has no attribute 'happened_at'"):
        event.happened_at  # type: ignore[attr-defined]  # noqa: B018
