"""Events from samples and variants: of every type, with fields changed by their names."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime
from typing import ClassVar, get_args

import pytest

from ampeco.notifications import KNOWN_TYPES, HardwareStatus, Payload, SessionStartStop, SessionUpdate
from ampeco.states import Hardware
from handlers import other
from handlers.internal import PAYLOADS
from handlers.names import InternalName
from handlers.testing import ABSENT, Clock, event_from, event_of, known_types, samples_of, variants_of


class TicketChanged(Payload):
    notification_types: ClassVar[tuple[str, ...]] = ("ticket.changed",)
    ticket: dict[str, object]


@pytest.mark.parametrize("name", sorted(KNOWN_TYPES))
def test_there_is_an_event_of_every_type(name):
    event = event_of(name)
    assert (event.type, event.misfits) == (name, ())
    assert event.payload.notification == name
    assert {each.type for each in samples_of(name)} == {name}


@pytest.mark.parametrize("name", known_types())
def test_every_variant_is_an_event_without_misfits(name):
    for about, event in variants_of(name):
        assert (event.type, event.misfits) == (name, ()), about


@pytest.mark.parametrize("name", get_args(InternalName))
def test_events_of_this_service_can_be_made_too(name):
    assert isinstance(event_of(name).payload, PAYLOADS[name])


def test_every_event_of_this_service_is_a_name_for_type_checkers():
    assert set(get_args(InternalName)) == PAYLOADS.keys()


def test_fields_are_changed_by_their_names_in_python_or_on_the_wire():
    event = event_of("HardwareStatusNotification", hardware_status="faulted", evseId=7)
    assert (event.payload.hardware_status, event.payload.evse_id) == ("faulted", "7")
    assert json.loads(event.raw)["hardwareStatus"] == "faulted"


def test_a_class_of_payloads_names_the_type_and_types_the_payload():
    event = event_of(HardwareStatus, hardware_status=Hardware.FAULTED)
    assert event.payload.hardware_status == "faulted"
    assert event_of(SessionStartStop).type == "session.start.stop.notification"


def test_an_object_is_merged_into_the_one_of_the_sample():
    event = event_of(SessionUpdate, session={"status": "active", "total_amount": {"with_tax": 7.5}})
    assert (event.payload.session.status, event.payload.session.id) == ("active", "100001")
    assert event.payload.session.total_amount.with_tax == 7.5
    assert event.key == "session:100001"
    dotted = event_of(SessionUpdate, **{"session.id": 9, "session.userId": ABSENT})
    assert (dotted.key, dotted.payload.session.user_id) == ("session:9", None)


def test_times_are_written_as_ampeco_writes_them():
    at = datetime(2026, 11, 24, 9, tzinfo=UTC)
    event = event_of(HardwareStatus, timestamp=at)
    assert (event.payload.timestamp, event.occurred_at) == (at, at)


def test_the_minimal_sample_has_the_required_fields_alone():
    event = event_of(SessionUpdate, sample="minimal")
    assert event.payload.session.stopped_at is None


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        (
            lambda: event_of("HardwareStatusNotifcation"),
            LookupError,
            "did you mean 'HardwareStatusNotification'",
        ),
        (lambda: event_of("ticket.changed"), LookupError, "other('ticket.changed')"),
        (lambda: event_of(HardwareStatus, hardware_stat="x"), TypeError, "did you mean 'hardware_status'"),
        (lambda: event_of(SessionUpdate, session={"stats": "x"}), TypeError, "no field 'session.stats'"),
        (lambda: event_of(SessionUpdate, **{"session.stats": "x"}), TypeError, "no field 'session.stats'"),
    ],
)
def test_a_misspelled_name_is_told(call, error, said):
    with pytest.raises(error, match=said.replace("(", r"\(").replace(")", r"\)")):
        call()


def test_newer_types_and_fields_have_a_way_in():
    raw = event_of(other("ticket.changed"), ticket={"id": 1})
    assert (raw.type, raw.payload.data["ticket"]) == ("ticket.changed", {"id": 1})
    typed = event_of(TicketChanged, ticket={"id": 1})
    assert typed.payload.ticket == {"id": 1}
    extended = event_of(HardwareStatus, extra={"firmware": "2"})
    assert extended.payload.model_extra["firmware"] == "2"


def test_a_field_of_the_wrong_kind_is_a_misfit_as_in_a_worker():
    event = event_of(SessionUpdate, session={"energy": "12,5"})
    assert event.misfits == ("session.energy",)


def test_events_have_ids_of_their_own_and_the_time_of_the_clock():
    clock = Clock(datetime(2026, 11, 24, tzinfo=UTC))
    one, two = event_of(HardwareStatus, clock=clock), event_of(HardwareStatus, clock=clock)
    assert one.id != two.id
    assert one.received_at == clock.now()
    assert dataclasses.replace(one, replayed=True).replayed


def test_a_body_of_ones_own_makes_an_event():
    event = event_from(b'{"notification": "HardwareStatusNotification", "chargePointId": 5}')
    assert (event.key, event.misfits) == ("charge-point:5", ("timestamp",))
