"""What a handler calls the subject of an event: bounded text within its entity, however odd `key=` is."""

from __future__ import annotations

import enum
import json
from typing import Any

import pytest
from structlog.testing import capture_logs

from ampeco.notifications import HardwareStatus
from eventlog.record import OpenRecord, StoredEvent, decode_open, encode_open
from handlers import Context, Event, Raw, handler
from workers.delivery.handler_key import HandlerKey, HandlerKeys
from workers.delivery.key_check import key_fault
from workers.drain.entry import tie_of
from workers.drain.window import Window

HARDWARE = "HardwareStatusNotification"


def stored(n: int = 1, key: str | None = "charge-point:12", type: str = HARDWARE, **data: Any) -> StoredEvent:
    sent = {"notification": type, "chargePointId": 12, "hardwareStatus": "faulted", **data}
    return StoredEvent(0, f"{n}-0", type, key, json.dumps(sent).encode(), n)


def made(said: Any, event: StoredEvent | None = None) -> HandlerKey:
    @handler("h", on=["*"], key=lambda event: said)
    async def h(event: Event[Raw], ctx: Context) -> None: ...

    return HandlerKeys(h).of(event or stored())


class Colour(enum.StrEnum):
    RED = "red"


@pytest.mark.parametrize(
    ("said", "key"),
    [
        ("3", "charge-point:12/3"),
        (3, "charge-point:12/3"),
        (Colour.RED, "charge-point:12/red"),
        ("a/b", "charge-point:12/a/b"),
        (None, "charge-point:12"),
        ("", "charge-point:12"),
    ],
)
def test_it_is_text_within_the_entity(said: Any, key: str):
    assert made(said) == HandlerKey(key)


@pytest.mark.parametrize(
    "said", ["x" * 1_000_000, "é" * 101, "half \ud800", pytest.param(10**5_000, id="number")]
)
def test_what_is_long_or_no_text_is_hashed(said: Any):
    key = made(said).key
    assert key is not None
    assert key.startswith("charge-point:12/sha256-")
    assert len(key.encode()) < 100
    assert key != made(said + ("x" if isinstance(said, str) else 1)).key


def test_no_two_entities_share_a_key():
    nested = made("3", stored(key="charge-point:12/3")).key
    deeper = made("3/3", stored(key="charge-point:12")).key
    alone = made(None, stored(key="charge-point:12/3/3")).key
    assert len({nested, deeper, alone, made(None, stored(key="charge-point:12%2F3")).key}) == 4


def test_an_event_without_an_entity_has_none():
    assert made("3", stored(key=None)) == HandlerKey(None)


@pytest.mark.parametrize("said", [True, 1.5, b"3", ["3"], object()])
def test_what_is_no_key_counts_as_failed_and_the_entity_stands_in(said: Any):
    found = made(said)
    assert (found.key, found.dead) == ("charge-point:12", None)
    assert found.failed == f"returned something of the type {type(said).__name__}"


def test_an_error_is_told_once_for_each_cause():
    @handler("h", key=lambda event: {}[event.payload.error_code])
    async def h(event: Event[HardwareStatus], ctx: Context) -> None: ...

    keys = HandlerKeys(h)
    with capture_logs() as lines:
        found = [keys.of(stored(n)) for n in (1, 2)]
    assert [each.key for each in found] == ["charge-point:12"] * 2
    (line,) = [line for line in lines if line["event"] != "payload.misfit"]
    assert (line["event"], line["handler"]) == ("handler.key_failed", "h")
    assert line["error"].startswith("raised KeyError at ")
    assert "test_handler_key.py" in line["error"]
    assert "raised KeyError" in (key_fault(h) or "")


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), RecursionError()])
def test_nothing_that_it_raises_goes_further(error: BaseException):
    def odd(event: Event[Raw]) -> str:
        raise error

    @handler("h", on=["*"], key=odd)
    async def h(event: Event[Raw], ctx: Context) -> None: ...

    assert type(error).__name__ in HandlerKeys(h).of(stored()).failed


def test_a_field_that_does_not_fit_ends_the_delivery():
    @handler("h", key=lambda event: str(event.payload.timestamp))
    async def h(event: Event[HardwareStatus], ctx: Context) -> None: ...

    found = HandlerKeys(h).of(stored(timestamp="never"))
    assert found.dead is not None
    assert (found.key, found.dead.reason, found.dead.detail) == (
        "charge-point:12",
        "payload-mismatch",
        "timestamp",
    )
    assert key_fault(h) is None


def by_evse(event: Event[HardwareStatus]) -> str | None:
    return event.payload.evse_id


@handler("h", key=by_evse)
async def keyed(event: Event[HardwareStatus], ctx: Context) -> None: ...


def test_events_of_one_entity_with_different_keys_are_not_tied():
    keys = HandlerKeys(keyed)
    window = Window("entity", "0-0", keys.of)
    for n, evse in enumerate((1, 2, 1, None), 1):
        window.admit(stored(n, evseId=evse))
    assert [entry.order[0] for entry in window.ready] == [1, 2, 4]
    assert [entry.key for entry in window.ready] == [
        "charge-point:12/1",
        "charge-point:12/2",
        "charge-point:12",
    ]


def test_keys_are_found_again_by_the_code_that_takes_a_lane():
    """A record says what older code called it; what ties events together is what this code calls them."""
    one = OpenRecord(stored(1, evseId=1), "retry", 1 << 42, own_key="charge-point:12/old")
    window = Window("entity", "0-0", HandlerKeys(keyed).of)
    window.recall(one)
    window.arrange((0, 0))
    window.admit(stored(2, evseId=1))
    window.admit(stored(3, evseId=2))
    assert [entry.order[0] for entry in window.ready] == [3]
    parked = {record.event.stream_id: record for record in window.cursor.changes().puts}["2-0"]
    assert (parked.state, parked.own_key) == ("parked", "charge-point:12/1")
    assert decode_open(0, b"2-0", encode_open(parked)).own_key == "charge-point:12/1"


def test_latest_keeps_the_newest_status_of_each_evse_by_itself():
    window = Window("latest", "0-0")
    for n, evse in enumerate((1, 2, 1, None, 1), 1):
        window.admit(stored(n, evseId=evse))
    assert [entry.order[0] for entry in window.ready] == [1, 2, 4]
    assert [entry.order[0] for entry in window.superseded] == [3]
    assert tie_of("latest", stored(evseId=7)) == f"26 {HARDWARE} charge-point:12 evse:7"
    assert tie_of("latest", stored(evseId=None)) == f"26 {HARDWARE} charge-point:12"
    assert tie_of("entity", stored(evseId=7)) == "charge-point:12"
    assert tie_of("latest", stored()._replace(body=b"no JSON")) == f"26 {HARDWARE} charge-point:12"
