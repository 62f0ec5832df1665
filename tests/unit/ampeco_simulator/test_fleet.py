"""A fleet is believable, repeatable, and says things the way AMPECO does."""

import json
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ampeco.notifications import parse
from ampeco.simulator.fleet.announcements import ANNOUNCED, Announcement, encode
from ampeco.simulator.fleet.fleet import Fleet
from ampeco.simulator.fleet.plan import Behaviour
from tests.unit.ampeco_simulator.contract_rules import payload_faults

START = datetime(2026, 11, 17, tzinfo=UTC)


def fleet(charge_points: int = 20, seed: int = 1, start_at: datetime = START) -> Fleet:
    return Fleet(charge_points, seed=seed, start_at=start_at)


def take(living: Fleet, count: int) -> list[Announcement]:
    return [living.next() for _ in range(count)]


def loaded(announcements: list[Announcement], notification: str) -> list[dict[str, Any]]:
    return [json.loads(a.body) for a in announcements if a.notification == notification]


def until(living: Fleet, condition: Callable[[Announcement], bool]) -> Announcement:
    return next(a for a in (living.next() for _ in range(50_000)) if condition(a))


def says(status: str, charge_point_id: int | None = None) -> Callable[[Announcement], bool]:
    text = f'"hardwareStatus":"{status}"'.encode()
    return lambda a: text in a.body and charge_point_id in (None, a.charge_point_id)


def test_the_same_seed_gives_the_same_bodies() -> None:
    assert take(fleet(seed=7), 2000) == take(fleet(seed=7), 2000)


def test_another_seed_gives_other_bodies() -> None:
    assert take(fleet(seed=7), 200) != take(fleet(seed=8), 200)


def test_resets_at_the_same_places_give_the_same_bodies() -> None:
    def run() -> list[Announcement]:
        living, seen = fleet(seed=3), []
        for _ in range(2000):
            seen.append(living.next())
            if says("faulted")(seen[-1]):
                living.reset(seen[-1].charge_point_id)
        return seen

    assert run() == run()


def test_every_notification_is_as_the_contract_says() -> None:
    seen = take(fleet(), 5000)
    assert {announcement.notification for announcement in seen} == ANNOUNCED
    faults = [(a.notification, payload_faults(a.notification, json.loads(a.body))) for a in seen]
    assert [fault for fault in faults if fault[1]] == []


def test_what_it_shows_on_demand_is_as_the_contract_says() -> None:
    living = fleet()
    living.warm_up()
    for notification in ANNOUNCED:
        shown = living.show(notification)
        assert shown is not None
        assert payload_faults(notification, json.loads(shown.body)) == []
    assert living.show("evse.changed") is None
    assert living.show("BootNotification", 99) is None


def test_no_body_with_a_time_of_its_own_comes_twice() -> None:
    """Otherwise a receiver would rightly drop the second one as a duplicate."""
    bodies = [a.body for a in take(fleet(), 10_000) if parse(a.body).occurred_at is not None]
    assert len(bodies) == len(set(bodies)) > 5000


def test_ids_have_the_types_ampeco_gives_them() -> None:
    seen = take(fleet(), 500)
    start = loaded(seen, "SessionStartStopNotification")[0]
    session = loaded(seen, "SessionUpdateNotification")[0]["session"]
    values = loaded(seen, "SessionMeterValuesNotification")[0]
    hardware = loaded(seen, "HardwareStatusNotification")[0]
    assert isinstance(session["id"], str)
    assert isinstance(start["sessionId"], int)
    assert isinstance(values["sessionId"], int)
    assert values.keys() == {
        "notification", "sessionId", "externalSessionId", "chargePointId", "evseId", "meterValues",
    }  # fmt: skip
    assert hardware.keys() == {
        "notification", "chargePointId", "evseId", "timestamp", "hardwareStatus", "errorCode",
    }  # fmt: skip


def test_a_charge_point_lives_through_its_statuses_in_order() -> None:
    """Boot, available, then preparing, charging (with a session), finishing, available, over and over."""
    story = [
        json.loads(a.body).get("hardwareStatus") or a.notification
        for a in take(fleet(charge_points=2, seed=5), 400)
        if a.charge_point_id == (1 if not is_faulty(2, 5, 1) else 2)
    ]
    spellings = ["SessionStartStopNotification", "session.start.stop.notification"]
    assert story[:3] == ["BootNotification", "NetworkStatusNotification", "available"]
    assert story[3:7] == ["preparing", *spellings, "charging"]
    rest = story[7:]
    assert set(rest[: rest.index("finishing")]) <= {
        "SessionMeterValuesNotification",
        "SessionUpdateNotification",
    }
    at = rest.index("finishing")
    assert rest[at + 1 : at + 6] == [
        *spellings, "SessionUpdateNotification", "cdr.received", "available",
    ]  # fmt: skip


def is_faulty(charge_points: int, seed: int, charge_point_id: int) -> bool:
    return until(fleet(charge_points, seed), says("faulted")).charge_point_id == charge_point_id


def test_energy_and_meter_never_fall_and_match() -> None:
    registers: defaultdict[int, list[int]] = defaultdict(list)
    for values in loaded(take(fleet(), 5000), "SessionMeterValuesNotification"):
        registers[values["sessionId"]].append(values["meterValues"][1]["value"])
    assert len(registers) > 50
    assert all(readings == sorted(readings) for readings in registers.values())

    for message in loaded(take(fleet(), 5000), "SessionStartStopNotification"):
        if message["action"] != "stop" or len(registers.get(message["sessionId"], [])) < 2:
            continue
        taken = registers[message["sessionId"]]
        assert 500 < message["energyConsumed"] < 90_000
        assert taken[-1] - taken[0] < message["energyConsumed"]
        assert message["meterStop"] - message["meterStart"] == message["energyConsumed"]
        started, stopped = (
            datetime.fromisoformat(message[name]) for name in ("startedAtTimestamp", "stoppedAtTimestamp")
        )
        assert timedelta(minutes=10) < stopped - started < timedelta(minutes=100)


def test_session_ids_go_on_where_an_earlier_fleet_stopped() -> None:
    first = fleet()
    take(first, 1000)
    second = Fleet(20, seed=1, start_at=START, first_session_id=first.next_session_id)
    ids = [m["sessionId"] for m in loaded(take(second, 1000), "SessionStartStopNotification")]
    assert min(ids) == first.next_session_id


@pytest.mark.parametrize("seed", range(10))
def test_a_short_demonstration_shows_a_fault(seed: int) -> None:
    assert any(says("faulted")(a) for a in take(fleet(seed=seed), 300))


def test_about_one_cycle_in_25_is_a_fault() -> None:
    living = fleet(charge_points=50, seed=2)
    take(living, 25_000)
    assert 25 / 1.5 < living.sessions_started / living.faults < 25 * 1.5


def test_a_faulted_charge_point_boots_after_a_reset() -> None:
    living = fleet()
    fault = until(living, says("faulted"))
    began = living.now
    assert living.faulted == [fault.charge_point_id]
    assert living.reset(fault.charge_point_id)
    boot = until(living, lambda a: a.charge_point_id == fault.charge_point_id)
    assert json.loads(boot.body)["bootNotification"]["reason"] == "RemoteReset"
    assert living.now - began < timedelta(minutes=2)
    assert says("available")(until(living, lambda a: a.charge_point_id == fault.charge_point_id))
    assert fault.charge_point_id not in living.faulted


def test_a_reset_that_comes_late_helps_as_well() -> None:
    living = fleet()
    fault = until(living, says("faulted"))
    began = living.now
    while living.now < began + timedelta(hours=1):
        assert living.next().charge_point_id != fault.charge_point_id
    assert living.reset(fault.charge_point_id)
    until(living, lambda a: a.charge_point_id == fault.charge_point_id)
    assert living.now - began < timedelta(hours=1, minutes=5)


def test_a_faulted_charge_point_nobody_resets_comes_back_at_last() -> None:
    living = fleet()
    fault = until(living, says("faulted"))
    began = living.now
    boot = until(living, lambda a: a.charge_point_id == fault.charge_point_id)
    assert boot.notification == "BootNotification"
    assert living.now - began == timedelta(seconds=Behaviour().faulted_s)


def test_a_reset_means_nothing_to_others() -> None:
    living, untouched = fleet(), fleet()
    take(living, 5), take(untouched, 5)
    assert not living.reset(999)
    assert not any(living.reset(n) for n in range(1, 21))
    assert take(living, 100) == take(untouched, 100)


def test_a_second_reset_of_one_fault_means_nothing() -> None:
    living = fleet()
    fault = until(living, says("faulted"))
    assert living.reset(fault.charge_point_id)
    assert not living.reset(fault.charge_point_id)


def test_json_is_written_as_php_does() -> None:
    """A receiver that signs its own re-serialised JSON must fail here, not at AMPECO."""
    body = encode({"model": "SIM/22", "vendor": "Säule"})
    assert body == b'{"model":"SIM\\/22","vendor":"S\\u00e4ule"}'
    assert json.loads(body) == {"model": "SIM/22", "vendor": "Säule"}
