"""Bytes to notifications: nothing but PayloadError comes out, and what is signed JSON is always kept."""

import json
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from ampeco import notifications, states
from ampeco.actions.answers import PrivateDataExport
from ampeco.catalogue import UNCONFIRMED_TYPES
from ampeco.entity_keys import occurred_at
from ampeco.errors import PayloadError
from ampeco.models.objects import OBJECTS
from ampeco.models.objects.session import Session
from ampeco.notifications import (
    DEFAULT_RULES,
    KNOWN_TYPES,
    MODELS,
    UNTYPED,
    Boot,
    ChargePointChanged,
    HardwareStatus,
    NetworkStatus,
    SessionMeterValues,
    SessionUpdate,
    parse,
    read,
    recognize,
)
from ampeco.notifications import EntityKeyRules as Rules
from ampeco.paths import snake
from ampeco.simulator.delivery.spelling import dressed
from ampeco.simulator.fleet.samples import sample
from ampeco.simulator.switches import Habits

FACTS = Path(__file__).parents[3] / "ampeco" / "facts"

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.just(10**4299),
    st.floats(),
    st.text(st.characters(exclude_categories=())),  # lone surrogates included
    st.sampled_from(["4711", "2026-11-24T03:50:00Z", "0001-01-01T00:00:00+14:00", "2026-11-24T03:50:00"]),
)
fields_of_interest = (
    "notification data session id sessionId chargePointId chargePoint evseId meterValues timestamp value "
    "lastUpdatedAt energy startedAt hardwareStatus firmware_version"
)
field_names = st.sampled_from(fields_of_interest.split())
documents = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(field_names, inner, max_size=6)),
    max_leaves=25,
)
type_names = st.sampled_from([*KNOWN_TYPES, "new.type", ""])
objects = st.builds(
    lambda name, rest: {**rest, "notification": name}, type_names, st.dictionaries(field_names, documents)
)


def body(**fields: Any) -> bytes:
    return json.dumps(fields).encode()


def refusal(raw: bytes) -> str | None:
    try:
        parse(raw)
    except PayloadError as error:
        return error.reason
    return None


def texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for pair in value.items() for part in pair for text in texts(part)]
    if isinstance(value, list):
        return [text for element in value for text in texts(element)]
    return [value] if isinstance(value, str) else []


@given(st.binary())
@example(b"[" * 100_000)
@example(b'{"a":' * 100_000)
@example(b"1" * 5000)
@example(b'{"notification":' + b"9" * 5000 + b"}")
@example(b"\xff\xfe{\x00}\x00")
@example(b'{"a":"\xed\xa0\x80"}')
@example(b'{"a":NaN}')
def test_arbitrary_bytes_raise_only_the_parsers_own_error(raw: bytes) -> None:
    assert refusal(raw) in (None, "not-json", "not-an-object", "lone-surrogate")


@given(st.one_of(objects, documents))
@example("NaN")
def test_arbitrary_json_is_kept_unless_it_is_no_object_or_no_unicode(document: Any) -> None:
    raw = json.dumps(document).encode()
    valid = not any("\ud800" <= char <= "\udfff" for text in texts(json.loads(raw)) for char in text)
    constants: list[str] = []
    json.loads(raw, parse_constant=constants.append)
    reason = refusal(raw)
    if not valid:
        assert reason in ("lone-surrogate", *(["not-json"] if constants else []))
    elif reason is not None:
        assert reason == ("not-json" if constants else "not-an-object")
    if reason is not None:
        return
    notification = parse(raw)
    for text in texts([notification.data, notification.type, notification.key]):
        text.encode()
    assert notification.key is None or len(notification.key.encode()) <= 200
    assert notification.occurred_at is None or notification.occurred_at.utcoffset() == UTC.utcoffset(None)
    assert notification.payload is None or notification.type in MODELS
    assert parse(raw) == notification


@given(name=st.sampled_from(sorted(MODELS)), fields=documents)
def test_a_model_raises_nothing_but_that_it_does_not_fit(name: str, fields: Any) -> None:
    """Junk in it, under the noun of the type or at its top."""
    noun = next((noun for noun in (MODELS[name].carries, *MODELS[name].nouns) if noun), "")
    for data in (fields, {noun: fields}):
        try:
            MODELS[name].model_validate(data)
        except ValidationError:
            pass


@given(title=st.sampled_from(sorted(OBJECTS)), picks=st.data())
def test_an_object_raises_nothing_but_that_it_does_not_fit(title: str, picks: st.DataObject) -> None:
    """Its own names, with anything for a value."""
    model = OBJECTS[title]
    names = st.sampled_from([field.alias or name for name, field in model.model_fields.items()])
    try:
        model.model_validate(picks.draw(st.dictionaries(names, documents, max_size=6)))
    except ValidationError:
        pass


@pytest.mark.parametrize(
    "raw",
    [
        rb'{"notification":"A\ud800"}',
        rb'{"a":{"b":["\udc00"]}}',
        rb'{"\ud83d":1}',
        rb'{"a":{"x\ud800y":1}}',
        rb'"\ud800"',
    ],
)
def test_names_a_lone_surrogate_wherever_it_sits(raw: bytes) -> None:
    assert refusal(raw) == "lone-surrogate"


def test_the_first_fault_is_named() -> None:
    assert refusal(rb'["\ud800", NaN]') == "lone-surrogate"
    assert refusal(rb'[NaN, "\ud800"]') == "not-json"


@pytest.mark.parametrize(
    "raw", [b"", b"hello", b'{"a":1', b'{"a":1} {}', b"\x00", b'{"a":NaN}', b"\xef\xbb\xbf{}"]
)
def test_names_what_is_no_json(raw: bytes) -> None:
    assert refusal(raw) == "not-json"


@pytest.mark.parametrize("raw", [b"[]", b"null", b"1", b'"text"', b"true"])
def test_names_what_is_no_object(raw: bytes) -> None:
    assert refusal(raw) == "not-an-object"


def test_an_error_quotes_nothing_of_the_body() -> None:
    with pytest.raises(PayloadError) as caught:
        parse(b'{"email":"someone@example.com", oops')
    assert "someone" not in str(caught.value)


def test_takes_a_data_wrapper_off_only_when_the_type_is_inside() -> None:
    inner = {"notification": "SessionUpdateNotification", "session": {"id": 1}}
    assert read(body(data=inner)) == inner
    assert read(body(data=[inner])) == {"data": [inner]}
    outer = {"notification": "new.type", "data": inner}
    assert read(body(**outer)) == outer


@pytest.mark.parametrize("named", [None, 7, True, ["x"], ""])
def test_an_object_without_a_type_is_untyped(named: object) -> None:
    assert parse(body(notification=named)).type == UNTYPED
    assert parse(b"{}").type == UNTYPED


def test_an_unknown_type_is_kept_without_a_payload() -> None:
    notification = parse(body(notification="brand.new", chargePointId=12, wattage=7))
    assert (notification.type, notification.key) == ("brand.new", "charge-point:12")
    assert notification.payload is None
    assert notification.misfits == ()
    assert notification.data["wattage"] == 7


@pytest.mark.parametrize(
    ("fields", "key"),
    [
        (
            {"notification": "SessionStartStopNotification", "session": {"id": "4711", "chargePointId": 12}},
            "session:4711",
        ),
        ({"notification": "session.start.stop.notification", "session": {"id": 4711}}, "session:4711"),
        ({"notification": "SessionUpdateNotification", "session": {"id": 4711.0}}, "session:4711"),
        ({"notification": "SessionUpdateNotification", "session": {"chargePointId": 12}}, "charge-point:12"),
        (
            {"notification": "SessionMeterValuesNotification", "sessionId": 4711, "chargePointId": 12},
            "session:4711",
        ),
        (
            {"notification": "SessionMeterValuesNotification", "sessionId": None, "chargePointId": 12},
            "charge-point:12",
        ),
        (
            {"notification": "HardwareStatusNotification", "chargePointId": 12, "evseId": 34},
            "charge-point:12",
        ),
        ({"notification": "HardwareStatusNotification", "evseId": "34"}, "evse:34"),
        ({"notification": "NetworkStatusNotification", "chargePoint": {"id": 12}}, "charge-point:12"),
        ({"notification": "evse.changed", "evse": {"id": 34, "chargePointId": 12}}, "evse:34"),
        ({"notification": "evse.changed", "evse": {"chargePointId": 12}}, "charge-point:12"),
        ({"notification": "evse.changed", "evse": {"id": 34}}, "evse:34"),
        ({"notification": "user.paymentMethod.changed", "paymentMethod": {"id": "x", "userId": 9}}, "user:9"),
        ({"notification": "cdr.received", "id": "NL-5", "createdAt": "2026-11-24T03:50:00Z"}, "cdr:NL-5"),
        ({"notification": "idTag.changed", "idTagsId": 5}, "id-tag:5"),
        ({"notification": "PartnerChangedNotification", "user": {"id": "5"}}, "partner:5"),
        ({"notification": "SecurityEventNotification", "chargePoint": 12}, "charge-point:12"),
        (
            {"notification": "HardwareStatusNotification", "charge_point_id": 12, "evse_id": 34},
            "charge-point:12",
        ),
        (
            {"notification": "SessionUpdateNotification", "session": {"charge_point_id": 12}},
            "charge-point:12",
        ),
        (
            {"notification": "user.paymentMethod.changed", "paymentMethod": {"id": "x", "user_id": 9}},
            "user:9",
        ),
        ({"notification": "new.type", "session": {"id": 1}, "chargePointId": 12}, "session:1"),
        ({"notification": "new.type", "id": 5}, None),
        ({"sessionId": 8}, "session:8"),
    ],
)
def test_finds_the_entity_key(fields: dict[str, Any], key: str | None) -> None:
    assert parse(body(**fields)).key == key


@pytest.mark.parametrize("value", [None, True, False, "", 1.5, 1e300, {"id": 1}, [1], 0, -1, "0", 2**63 - 1])
def test_what_is_no_id_gives_no_key(value: object) -> None:
    assert parse(body(notification="HardwareStatusNotification", chargePointId=value)).key is None


def test_a_long_id_is_hashed_and_stays_its_own() -> None:
    def key(session_id: str) -> str:
        return parse(body(notification="SessionMeterValuesNotification", sessionId=session_id)).key or ""

    assert key("x" * 192) == "session:" + "x" * 192
    assert key("x" * 193).startswith("session:sha256-")
    assert len(key("\u20ac" * 100)) == len("session:sha256-") + 32
    assert key("x" * 193) != key("x" * 194)


@pytest.mark.parametrize(
    ("fields", "moment"),
    [
        (
            {
                "notification": "SessionUpdateNotification",
                "session": {"id": 1, "lastUpdatedAt": "2026-11-24T03:50:00Z"},
            },
            (3, 50),
        ),
        ({"notification": "new.type", "updatedAt": "2026-11-24 05:50:00+02:00"}, (3, 50)),
        ({"notification": "new.type", "updated_at": "2026-11-24 05:50:00+02:00"}, (3, 50)),
        (
            {
                "notification": "CircuitConsumptionNotification",
                "consumption": [{"last_updated_at": "2026-11-24T03:50:00Z"}],
            },
            (3, 50),
        ),
        ({"notification": "new.type", "timestamp": "2026-11-24T03:50:00"}, (3, 50)),
        (
            {"notification": "new.type", "lastUpdatedAt": "soon", "timestamp": "2026-11-24T03:50:00.5Z"},
            (3, 50),
        ),
        (
            {
                "notification": "TariffChangedNotification",
                "tariff": {"lastUpdatedAt": "2026-11-24T03:50:00Z"},
            },
            (3, 50),
        ),
        (
            {
                "notification": "SessionMeterValuesNotification",
                "sessionId": 1,
                "meterValues": [
                    {"timestamp": "2026-11-24T03:49:00Z"},
                    {"timestamp": "2026-11-24T05:50:00+02:00"},
                    {"timestamp": None},
                    "odd",
                ],
            },
            (3, 50),
        ),
        ({"notification": "chargingProfile.applied", "appliedAt": "2026-11-24T03:50:00Z"}, (3, 50)),
        ({"notification": "cdr.received", "id": "x", "createdAt": "2026-11-24T03:50:00Z"}, (3, 50)),
        (
            {
                "notification": "ChargePointSyncConfigurationNotification",
                "configuration": [{"key": "A"}, {"key": "B", "lastUpdatedAt": "2026-11-24T03:50:00Z"}],
            },
            (3, 50),
        ),
        (
            {
                "notification": "session.start.stop.notification",
                "lastUpdatedAt": "0001-01-01T00:00:00Z",
                "startedAtTimestamp": "2026-11-24T03:50:00Z",
            },
            (3, 50),
        ),
        (
            {"notification": "SessionUpdateNotification", "session": {"startedAt": "2026-11-24T03:50:00Z"}},
            None,
        ),
        (
            {"notification": "HardwareStatusNotification", "chargePointId": 12, "hardwareStatus": "faulted"},
            None,
        ),
        ({"notification": "new.type", "timestamp": "1970-01-01T00:00:00Z"}, None),
        ({"notification": "new.type", "timestamp": "1999-12-31T23:59:59Z"}, None),
        ({"notification": "new.type", "timestamp": 1700000000}, None),
        ({"notification": "new.type", "timestamp": "2026-11-24"}, None),
        ({"notification": "new.type", "timestamp": "0001-01-01T00:00:00+14:00"}, None),
    ],
)
def test_finds_the_payloads_own_time(fields: dict[str, Any], moment: tuple[int, int] | None) -> None:
    found = parse(body(**fields)).occurred_at
    if moment is None:
        assert found is None
    else:
        assert found is not None
        assert found.replace(microsecond=0) == datetime(2026, 11, 24, *moment, tzinfo=UTC)
        assert found.tzinfo is UTC


def test_a_time_far_ahead_of_the_arrival_is_a_placeholder() -> None:
    arrived = datetime(2026, 11, 24, 3, 50, tzinfo=UTC)
    near, far = "2026-11-26T03:50:00Z", "2026-11-26T03:50:01Z"
    fields = {"notification": "userBalance.changed", "lastUpdatedAt": far, "timestamp": near}
    assert occurred_at("userBalance.changed", fields, arrived) == datetime(2026, 11, 26, 3, 50, tzinfo=UTC)
    assert occurred_at("userBalance.changed", fields) == datetime(2026, 11, 26, 3, 50, 1, tzinfo=UTC)
    fields["timestamp"] = "9999-12-31T23:59:59Z"
    assert occurred_at("userBalance.changed", fields, arrived) is None
    assert recognize(body(**fields), received_at=arrived).occurred_at is None
    assert recognize(body(**fields)).occurred_at is not None
    assert parse(body(**fields), received_at=arrived).occurred_at is None


def test_of_very_many_times_the_last_2000_are_read() -> None:
    times = [f"2026-11-24T{n // 3600:02}:{n // 60 % 60:02}:{n % 60:02}Z" for n in range(5_000)]
    for sent, newest in ((times, times[-1]), (times[::-1], times[1_999])):
        data = {"meterValues": [{"timestamp": time} for time in sent]}
        assert occurred_at("SessionMeterValuesNotification", data) == datetime.fromisoformat(newest)


def test_the_newest_element_counts_unless_it_is_a_placeholder() -> None:
    times = ("0001-01-01T00:00:00Z", "2026-11-24T03:50:00Z", "2026-11-24T03:40:00Z", "2099-01-01T00:00:00Z")
    fields = {"meterValues": [{"timestamp": time} for time in times]}
    arrived = datetime(2026, 11, 24, 4, tzinfo=UTC)
    assert occurred_at("SessionMeterValuesNotification", fields, arrived) == arrived.replace(
        hour=3, minute=50
    )
    fields = {"meterValues": [{"timestamp": times[0]}]}
    assert occurred_at("SessionMeterValuesNotification", fields) is None


def session_of(**fields: Any) -> Session:
    payload = parse(body(notification="SessionUpdateNotification", session={"id": 1, **fields})).payload
    assert isinstance(payload, SessionUpdate)
    return payload.session


def test_a_session_is_read_liberally() -> None:
    session = session_of(
        id=4711,
        chargePointId="12",
        userId=None,
        status="brand-new-status",
        energy="12.5",
        startedAt="2026-11-24T03:50:00+02:00",
        stoppedAt="",
        lastUpdatedAt="2026-11-24 03:50:00",
        moonPhase=3,
    )
    assert (session.id, session.charge_point_id, session.user_id) == ("4711", "12", None)
    assert (session.status, session.energy) == ("brand-new-status", 12.5)
    assert session.started_at == datetime(2026, 11, 24, 1, 50, tzinfo=UTC)
    assert session.last_updated_at == datetime(2026, 11, 24, 3, 50, tzinfo=UTC)
    assert session.stopped_at is None
    assert session.model_extra == {"moonPhase": 3}


def test_every_optional_field_of_a_session_may_be_null() -> None:
    optional = {field.alias: None for field in Session.model_fields.values() if not field.is_required()}
    assert session_of(**optional) == session_of()


@pytest.mark.parametrize(
    ("fields", "misfits"),
    [
        (
            {"notification": "chargePoint.changed", "chargePointId": 1, "action": "updated"},
            ("lastUpdatedAt",),
        ),
        (
            {"notification": "SessionMeterValuesNotification", "sessionId": 1, "chargePointId": 1, "evseId": 1,
             "meterValues": "none"},
            ("meterValues",),
        ),
        (
            {"notification": "circuit.changed", "circuitId": 1, "action": {}, "lastUpdatedAt": "soon"},
            ("action", "lastUpdatedAt"),
        ),
    ],
)  # fmt: skip
def test_fields_that_do_not_fit_are_named_and_the_payload_is_kept(
    fields: dict[str, Any], misfits: tuple[str, ...]
) -> None:
    notification = parse(body(**fields))
    assert notification.misfits == misfits
    assert type(notification.payload) is MODELS[notification.type]
    assert notification.data == fields


def test_meter_values_are_numbers_in_text_or_not() -> None:
    values = ["120.5", 7, None]
    fields = {"sessionId": 1, "meterValues": [{"value": value} for value in values]}
    payload = parse(body(notification="SessionMeterValuesNotification", **fields)).payload
    assert isinstance(payload, SessionMeterValues)
    assert [reading.value for reading in payload.meter_values or ()] == [120.5, 7.0, None]


@pytest.mark.parametrize("where", ["", "boot", "boot_notification", "bootNotification"])
@pytest.mark.parametrize("name", ["firmware_version", "firmwareVersion"])
def test_boot_fields_are_found_at_the_top_and_one_object_down(where: str, name: str) -> None:
    boot = {name: "1.2", "vendor": "ACME"}
    fields: dict[str, Any] = {where: boot} if where else boot
    payload = parse(body(notification="BootNotification", chargePointId=12, **fields)).payload
    assert isinstance(payload, Boot)
    assert payload.boot_notification is not None
    details = payload.boot_notification
    assert (payload.charge_point_id, details.firmware_version, details.vendor) == ("12", "1.2", "ACME")


def test_status_payloads_know_their_charge_point() -> None:
    hardware = parse(
        body(notification="HardwareStatusNotification", chargePointId=12, evseId=34, hardwareStatus="faulted")
    ).payload
    assert isinstance(hardware, HardwareStatus)
    assert (hardware.charge_point_id, hardware.evse_id, hardware.hardware_status) == ("12", "34", "faulted")
    network = parse(
        body(notification="NetworkStatusNotification", chargePoint={"id": "12"}, networkStatus="available")
    ).payload
    assert isinstance(network, NetworkStatus)
    assert (network.charge_point_id, network.network_status) == ("12", "available")


def test_a_network_status_compares_equal_in_either_spelling() -> None:
    spelled = ("temporarily unavailable", "temporarily_unavailable")
    for status in spelled:
        fields = {"chargePointId": 12, "networkStatus": status}
        payload = parse(body(notification="NetworkStatusNotification", **fields)).payload
        assert isinstance(payload, NetworkStatus)
        assert payload.network_status == status
        assert payload.normal_network_status == states.Network.TEMPORARILY_UNAVAILABLE
    long = states.normal_network_status("long-term unavailable")
    assert long == states.Network.LONG_TERM_UNAVAILABLE == "long-term_unavailable"
    assert states.normal_network_status(None) is None
    point = OBJECTS["ChargePoint"].model_validate({"id": 1, "networkStatus": "never connected"})
    assert getattr(point, "normal_network_status") == states.Network.NEVER_CONNECTED  # noqa: B009


def test_payloads_can_be_made_in_python() -> None:
    made = ChargePointChanged(
        charge_point_id="12", action="updated", last_updated_at=datetime(2026, 11, 24, 3, 50, tzinfo=UTC)
    )
    assert made.last_updated_at == datetime(2026, 11, 24, 3, 50, tzinfo=UTC)


def test_the_catalogue_holds_every_known_type_and_every_model() -> None:
    assert len(KNOWN_TYPES) == 43
    assert MODELS.keys() == KNOWN_TYPES.keys() | UNCONFIRMED_TYPES.keys()
    assert not KNOWN_TYPES.keys() & UNCONFIRMED_TYPES.keys()


@pytest.mark.parametrize("name", MODELS)
def test_a_model_says_itself_which_types_carry_it(name: str) -> None:
    """What a handler subscribes to by its annotation is what the catalogue says."""
    model = MODELS[name]
    assert name in model.notification_types
    assert getattr(notifications, model.__name__) is model
    assert model.__name__ in notifications.__all__


RESOURCES = {
    name: noun
    for name, model in MODELS.items()
    for noun in (model.carries, *model.nouns)
    if noun and noun not in ("bootNotification", "chargingProfile")
}


@pytest.mark.parametrize(("name", "noun"), RESOURCES.items())
@pytest.mark.parametrize("spelling", ["nested", "snake"])
def test_the_fields_of_a_nested_resource_are_found(name: str, noun: str, spelling: str) -> None:
    fields = {"id": 7, "lastUpdatedAt": "2026-11-24T03:50:00Z", "novelty": {"deep": [1]}}
    fields |= {"userId": 7, "chargePointId": 7}
    found = parse(body(notification=name, **{noun if spelling == "nested" else snake(noun): fields}))
    assert found.payload is not None
    if "last_updated_at" in type(found.payload).model_fields:
        assert "lastUpdatedAt" not in found.misfits or MODELS[name].carries
    dumped = json.dumps(found.payload.model_dump(by_alias=True, mode="json", warnings=False))
    assert '"novelty": {"deep": [1]}' in dumped


def test_ids_beside_a_resource_are_found_in_it() -> None:
    payload = parse(
        body(notification="user.paymentMethod.changed", paymentMethod={"id": "a", "userId": 5})
    ).payload
    assert isinstance(payload, notifications.UserPaymentMethodChanged)
    assert (payload.payment_method_id, payload.user_id) == ("a", "5")
    event = parse(body(notification="SecurityEventNotification", securityEvent={"chargePoint": 12})).payload
    assert isinstance(event, notifications.SecurityEventReported)
    assert event.charge_point_id == "12"


def test_finding_an_id_takes_nothing_away() -> None:
    place = {"id": 12, "name": "North"}
    payload = parse(
        body(notification="NetworkStatusNotification", chargePoint=place, chargePointId=None)
    ).payload
    assert isinstance(payload, NetworkStatus)
    assert payload.charge_point_id == "12"
    assert payload.model_extra == {"chargePoint": place}


def test_an_empty_object_may_come_as_an_empty_list() -> None:
    assert session_of(roaming=[], externalAppData=[]).roaming is None


def test_the_objects_read_every_name_of_the_schemas() -> None:
    """Each wire name lands in an attribute, none in the unknown rest."""
    for title, model in OBJECTS.items():
        schema = json.loads((FACTS / "schemas" / f"{title}.json").read_text())
        shapes = schema.get("oneOf") or [schema]
        names = {name for shape in shapes for name in shape["properties"]}
        known = {spelled for name, field in model.model_fields.items() for spelled in (name, field.alias)}
        assert names <= known, title


def test_secrets_of_objects_do_not_show() -> None:
    point = OBJECTS["ChargePoint"].model_validate({"id": 1, "pin": "4711", "network": {"password": "hush"}})
    assert "4711" not in repr(point)
    assert "hush" not in repr(point)


def test_what_is_unknown_shows_by_name_only() -> None:
    """AMPECO adds fields at will, and one of them may be a key."""
    payload = parse(body(notification="BootNotification", chargePointId=12, newApiKey="hush")).payload
    assert "hush" not in repr(payload) + str(payload)
    assert "unknown=['newApiKey']" in repr(payload)
    export = PrivateDataExport.read({"downloadUrl": "https://tenant.example/hush"})
    assert export.download_url
    assert "hush" not in repr(export)


def test_importing_the_parser_imports_no_models() -> None:
    """A process that handles sessions does not pay for tariffs."""
    code = "import sys, ampeco.notifications; print([m for m in sys.modules if 'models.objects.' in m])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", KNOWN_TYPES)
def test_every_known_type_finds_a_key_at_each_of_its_paths(name: str) -> None:
    for entity, paths in KNOWN_TYPES[name].entities:
        for path in paths:
            data: Any = 77
            for step in reversed(path.split(".")):
                data = {step: data}
            assert DEFAULT_RULES.key(name, data) == f"{entity}:77"


@pytest.mark.parametrize("name", KNOWN_TYPES)
def test_snake_case_loses_neither_key_nor_time_nor_payload(name: str) -> None:
    """AMPECO's older resources are spelled so, and a tenant that sends them wants its order too."""
    raw = json.dumps(sample(name, datetime(2026, 11, 24, tzinfo=UTC))).encode()
    snaked = dressed(raw, replace(Habits(), payload_case="snake"))
    expected, found = parse(raw), parse(snaked)
    assert snaked != raw or name == "BootNotification"
    assert (found.key, found.occurred_at) == (expected.key, expected.occurred_at)
    assert expected.payload is not None
    assert found.payload is not None
    ids = {field for field in type(found.payload).model_fields if field == "id" or field.endswith("_id")}
    assert {field: vars(found.payload).get(field) for field in ids} == {
        field: vars(expected.payload).get(field) for field in ids
    }


def load(tmp_path: Path, content: str) -> Rules:
    file = tmp_path / "keys.json"
    file.write_text(content)
    return Rules.load(file)


def test_rules_of_a_type_can_be_overridden_from_a_file(tmp_path: Path) -> None:
    rules = load(tmp_path, '{"new.type": {"entity": "depot", "paths": ["depot.code"]}}')
    raw = body(notification="new.type", depot={"code": "N1"}, chargePointId=12)
    assert parse(raw, rules=rules).key == "depot:N1"
    assert parse(raw).key == "charge-point:12"
    assert parse(body(notification="new.type", chargePointId=12), rules=rules).key == "charge-point:12"


def test_a_type_can_be_given_no_key_or_several_entities(tmp_path: Path) -> None:
    rules = load(
        tmp_path,
        '{"a": {"entity": "x", "paths": []},'
        ' "b": [{"entity": "x", "paths": ["xId"]}, {"entity": "y", "paths": ["yId"]}]}',
    )
    assert rules.key("a", {"chargePointId": 12}) is None
    assert rules.key("b", {"yId": 1}) == "y:1"


def test_the_version_changes_with_the_rules_and_only_with_them(tmp_path: Path) -> None:
    assert load(tmp_path, "{}").version == DEFAULT_RULES.version == Rules().version
    changed = load(tmp_path, '{"new.type": {"entity": "depot", "paths": ["depot.code"]}}')
    assert changed.version != DEFAULT_RULES.version
    assert changed.version in repr(changed)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        '{"a": 1}',
        '{"a": {"entity": "x"}}',
        '{"a": {"entity": "", "paths": ["id"]}}',
        '{"a": {"entity": "x:y", "paths": ["id"]}}',
        '{"a": {"entity": "x", "paths": "id"}}',
        '{"a": {"entity": "x", "paths": [1]}}',
        '{"a": {"entity": "x", "paths": ["id"], "more": 1}}',
        '{"a": {"entity": "\\ud800", "paths": ["id"]}}',
    ],
)
def test_a_faulty_rules_file_is_refused_in_one_line_naming_it(tmp_path: Path, content: str) -> None:
    with pytest.raises(ValueError, match=r"keys\.json") as caught:
        load(tmp_path, content)
    assert "\n" not in str(caught.value)


def test_a_missing_rules_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="missing"):
        Rules.load(tmp_path / "missing.json")
