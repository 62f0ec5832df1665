"""Each action as the facts have it: method, path and body are compared with the fact files, not with our table."""

import asyncio
import inspect
import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import httpx2
import pytest

from ampeco.actions import UNSET, answers
from ampeco.actions.encoding import moment
from ampeco.client import AsyncClient, Client
from ampeco.errors import ActionRefused
from ampeco.operations import OPERATIONS, Operation
from ampeco.simulator.testing import Box, tenant_in_a_box

FACTS = Path(__file__).parents[3] / "ampeco" / "facts"
SHARED = Path(__file__).parents[4] / "shared" / "ampeco"
CONTRACT: dict[str, Any] = json.loads((FACTS / "contract.json").read_text())
ACTIONS: list[dict[str, Any]] = json.loads(
    ((SHARED if SHARED.exists() else FACTS) / "actions.json").read_text()
)
JUDGEMENTS = json.loads((Path(__file__).parents[3] / "ampeco" / "generator" / "judgements.json").read_text())
TOKEN = "token-of-test-actions"
AN_ARRAY = "(body is a JSON array)"
NAMES = {(o.method, o.path): o.name for o in OPERATIONS.values() if o.kind == "action"}
TEXTS = {
    "notifications": "SessionUpdateNotification",
    "status": "completed",
    "startTime": "2026-11-24T10:00:00Z",
    "endTime": "2026-11-24T11:00:00Z",
    "type": "REGULAR",
    "country": "BG",
    "country_code": "BG",
    "party_id": "EXA",
    "currency": "EUR",
    "endDate": "2026-11-24",
    **dict.fromkeys(
        (
            "start", "stop", "validFrom", "validTo", "startSchedule", "retrieveAfter", "timestamp", "endsAt",
            "startAfter", "endBefore", "start_date_time", "end_date_time", "last_updated", "replaceAt",
        ),
        "2026-11-24T10:00:00Z",
    ),
}  # fmt: skip
"""Of what the simulator is particular about, as the contract is."""
ELEMENTS: dict[str, Any] = {
    "tariff_alt_text": {"language": "en", "text": "x"},
    "elements": {"price_components": [{"type": "ENERGY", "price": 0.5, "step_size": 1}]},
    "energy_sources": {"source": "SOLAR", "percentage": 100},
    "environ_impact": {"category": "CARBON_DIOXIDE", "amount": 1},
}
"""Of lists whose members only the contract describes."""
by_path = pytest.mark.parametrize("action", ACTIONS, ids=lambda action: action["path"].split("/", 3)[3])


class Recorder:
    """A tenant that keeps what was asked and gives one answer."""

    def __init__(self, answer: Any = None, status: int = 202) -> None:
        self.requests: list[httpx2.Request] = []
        self._status, self._content = status, b"" if answer is None else json.dumps(answer).encode()

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        return httpx2.Response(self._status, content=self._content)

    @property
    def body(self) -> Any:
        content = self.requests[-1].content
        return json.loads(content) if content else None


def called(recorder: Recorder, call: Callable[[Any], Any]) -> list[Any]:
    """The results of a call through both clients."""

    async def with_async() -> Any:
        async with AsyncClient("https://t", TOKEN, transport=httpx2.MockTransport(recorder)) as client:
            return await call(client.actions)

    with Client("https://t", TOKEN, transport=httpx2.MockTransport(recorder)) as client:
        return [asyncio.run(with_async()), call(client.actions)]


def method(actions: Any, action: dict[str, Any]) -> Callable[..., Any]:
    noun, verb = NAMES[action["method"], action["path"]].replace("-", "_").split(".")
    found: Callable[..., Any] = getattr(getattr(actions, noun), verb)
    return found


def snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name.replace("SoC", "Soc")).lower()


def sample(name: str, fact: dict[str, Any]) -> Any:
    match fact["type"]:
        case _ if name == "setSecurityProfile":
            return 2  # the older facts know 3 too
        case _ if "enum" in fact:
            return fact["enum"][-1]
        case "integer" | "number":
            return 7
        case "boolean":
            return True
        case "array":
            return [element(name, fact)]
        case "object":
            return {}
    return TEXTS.get(name, f"some {name}")


def element(name: str, fact: dict[str, Any]) -> Any:
    """One of a list, with the members that the fact's note tells of."""
    if members := re.search(r"items \{(.*?)\}", fact.get("note", "")):
        pairs = [member.split()[0].split(":") for member in members[1].split(", ")]
        return {key: 7 if kind == "number" else TEXTS[key] for key, kind in pairs}
    if name in ELEMENTS:
        return ELEMENTS[name]
    return 7 if name.endswith("Ids") else TEXTS.get(name, f"one {name}")


def filled(body: dict[str, Any], *, required_only: bool = False) -> dict[str, Any]:
    """A value for each documented field, nested where the facts have dotted names."""
    made: dict[str, Any] = {}
    for dotted, fact in body.items():
        *above, name = dotted.split(".")
        place = made
        for part in above:
            place = place.get(part, {})
        if fact["required"] or not required_only:
            place[name] = sample(name, fact)
    return made


def path_arguments(action: dict[str, Any]) -> list[Any]:
    return [p["enum"][0] if "enum" in p else 100 + n for n, p in enumerate(action["path_params"])]


def expected_path(action: dict[str, Any]) -> str:
    names = [p["name"] for p in action["path_params"]]
    path: str = action["path"].format(**dict(zip(names, path_arguments(action), strict=True)))
    return path


def keywords(action: dict[str, Any], *, required_only: bool = False) -> tuple[dict[str, Any], Any]:
    """Arguments of the method, and the body that AMPECO must get."""
    if action["body"] is None:
        return ({}, None) if required_only else ({"body": {"anything": [1]}}, {"anything": [1]})
    if AN_ARRAY in action["body"]:
        return {"variables": [{"value": "v", "keyName": "k"}]}, [{"value": "v", "keyName": "k"}]
    body = filled(action["body"], required_only=required_only)
    return {snake(name): value for name, value in body.items()}, body if action["body"] else None


def test_there_are_as_many_methods_as_actions() -> None:
    with Client("https://t", TOKEN, transport=httpx2.MockTransport(Recorder())) as client:
        groups = vars(client.actions).values()
        found = [m for group in groups for m, _ in inspect.getmembers(group, inspect.ismethod) if m[0] != "_"]
    assert len(found) == len(NAMES) == len(ACTIONS) == 73


@by_path
@pytest.mark.parametrize("required_only", [False, True])
def test_says_to_ampeco_what_the_facts_say(action: dict[str, Any], required_only: bool) -> None:
    """Optional members that were not given are not sent."""
    given, body = keywords(action, required_only=required_only)
    recorder = Recorder()
    called(recorder, lambda actions: method(actions, action)(*path_arguments(action), **given))
    assert len(recorder.requests) == 2
    for request in recorder.requests:
        assert request.method == action["method"]
        assert request.url.path == expected_path(action)
        assert (json.loads(request.content) if request.content else None) == body


@pytest.fixture(scope="module")
def box() -> Iterator[Box]:
    with tenant_in_a_box() as running, Client(running.url, running.token) as client:
        client.notifications.subscribe([TEXTS["notifications"]], callback_url="http://127.0.0.1:9/")
        yield running


@by_path
def test_a_tenant_takes_it_as_it_is_sent(box: Box, action: dict[str, Any]) -> None:
    """Over HTTP, with each documented member, to a simulator that checks bodies."""
    given, body = keywords(action)
    ids = path_arguments(action)
    with Client(box.url, box.token) as client:
        if action["path"].endswith("/resend"):
            ids = [client.notifications.list()[0].id]
        method(client.actions, action)(*ids, **given)
    call = box.calls()[-1]
    assert (call["method"], call["body"]) == (action["method"], body)
    names = [p["name"] for p in action["path_params"]]
    assert call["path"] == action["path"].format(**dict(zip(names, ids, strict=True)))
    assert 200 <= call["status"] < 300


@by_path
def test_what_is_required_has_no_default_and_nothing_else_is(action: dict[str, Any]) -> None:
    with Client("https://t", TOKEN, transport=httpx2.MockTransport(Recorder())) as client:
        parameters = inspect.signature(method(client.actions, action)).parameters
    body = {name: fact for name, fact in (action["body"] or {}).items() if "." not in name}
    required = {snake(name) for name, fact in body.items() if fact["required"] is True}
    needed = {name for name, p in parameters.items() if p.kind is p.KEYWORD_ONLY and p.default is p.empty}
    assert needed == ({"variables"} if AN_ARRAY in body else required)
    by_position = [p for p in parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert len(by_position) == len(action["path_params"])


def shape_of_body(action: dict[str, Any]) -> dict[str, Any]:
    body = CONTRACT["operations"].get(f"{action['method']} {action['path']}", {}).get("body") or {}
    found: dict[str, Any] = CONTRACT["shared"][body[1:]] if isinstance(body, str) else body
    return found


def documented_nullable(action: dict[str, Any], name: str, fact: dict[str, Any]) -> bool:
    """By the contract where it knows the member, else by the older facts."""
    body = shape_of_body(action).get("fields", {})
    shapes = {written.split(" ")[0]: shape for written, shape in body.items()}
    shape = shapes.get(name)
    return str(shape).endswith("?") if isinstance(shape, str) else bool(fact.get("nullable"))


@by_path
def test_null_is_sent_only_where_ampeco_takes_it(action: dict[str, Any]) -> None:
    given, _ = keywords(action)
    for name, fact in (action["body"] or {}).items():
        if "." in name or name == AN_ARRAY:
            continue
        recorder, with_none = Recorder(), {**given, snake(name): None}

        def call(actions: Any, arguments: dict[str, Any] = with_none) -> Any:
            return method(actions, action)(*path_arguments(action), **arguments)

        if documented_nullable(action, name, fact):
            called(recorder, call)
            assert recorder.body[name] is None
        else:
            with pytest.raises(ValueError, match=f"^{name} cannot be null"):
                called(recorder, call)
            assert recorder.requests == []


@by_path
def test_repetition_is_judged_for_every_action(action: dict[str, Any]) -> None:
    operation = OPERATIONS[NAMES[action["method"], action["path"]]]
    judged = JUDGEMENTS["repeat"][operation.name]
    assert operation.idempotent is judged["harmless"]
    assert judged["because"]
    assert operation.deprecated is action["deprecated"]


def test_what_moves_money_is_never_harmless_to_repeat() -> None:
    """The facts say that these must not be repeated blindly. No judgement overrules that."""
    for name in (
        "user.add-balance",
        "user.apply-custom-fee",
        "charge-point.start",
        "charge-point.start-without-evse",
        "evse.start",
        "transaction.issue-invoice",
        "notifications.resend-failed",
        "charge-point.unlock",
        "charge-point.clear-charging-profile",  # may clear one that was set meanwhile to save a fuse
    ):
        assert not OPERATIONS[name].idempotent, name


CODES = [
    (action, code)
    for action in ACTIONS
    for code in ((action["response"] or {}).get("errorCode") or {}).get("enum", [])
]


@pytest.mark.parametrize(("action", "code"), CODES, ids=lambda value: value if isinstance(value, str) else "")
def test_a_refusal_inside_a_success_raises_its_code(action: dict[str, Any], code: str) -> None:
    recorder = Recorder({"success": False, "authorizationId": 1, "errorCode": code})
    given, _ = keywords(action)
    with pytest.raises(ActionRefused) as refused:
        called(recorder, lambda actions: method(actions, action)(*path_arguments(action), **given))
    assert refused.value.error_code == code
    assert TOKEN not in repr(refused.value) + str(refused.value)


@by_path
def test_an_empty_answer_is_fine_and_a_documented_one_is_typed(action: dict[str, Any]) -> None:
    given, _ = keywords(action)

    def call(actions: Any) -> Any:
        return method(actions, action)(*path_arguments(action), **given)

    answers_something = OPERATIONS[NAMES[action["method"], action["path"]]].answer is not None
    assert answers_something >= (action["response"] is not None)
    for empty in called(Recorder(), call):
        assert set(empty.model_dump().values()) == {None} if answers_something else empty is None
    if not answers_something:
        assert called(Recorder({"data": {"odd": [1]}}), call)[0] == {"data": {"odd": [1]}}
        return
    shape = action["response"] or {"success": "boolean"}
    members = shape["data"] if isinstance(shape.get("data"), dict) else shape
    (answer, _) = called(Recorder(), call)
    spelled = {field.alias or name for name, field in type(answer).model_fields.items()}
    assert {name if name != "file_name" else "fileName" for name in members} <= spelled


def test_answers_are_read_with_and_without_envelope() -> None:
    bare = {"success": True, "requestId": 5, "newer": 1}
    for document in (bare, {"data": bare}):
        (answer, _) = called(Recorder(document), lambda a: a.charge_point.sync_configuration(1))
        assert isinstance(answer, answers.SyncRequested)
        assert (answer.success, answer.request_id) == (True, "5")
        assert answer.model_extra == {"newer": 1}


def test_the_answer_of_a_data_transfer_is_not_taken_for_an_envelope() -> None:
    said = {"status": "Accepted", "data": "text of the charge point"}
    (answer, _) = called(Recorder(said), lambda a: a.charge_point.send_data_transfer(1, vendor_id="acme"))
    assert (answer.status, answer.data) == ("Accepted", "text of the charge point")


@pytest.mark.parametrize(
    "odd",
    [
        [],
        "text",
        7,
        {"success": {"no": "boolean"}, "reservationId": 9},
        {"success": [], "reservationId": [], "reservation_id": 9},
    ],
)
def test_an_answer_that_does_not_fit_is_no_error(odd: Any) -> None:
    """The action was carried out: an error would invite a repetition."""
    (answer, _) = called(Recorder(odd), lambda a: a.charge_point.reserve(1, 2, user_id=3))
    assert answer.success is None
    assert answer.reservation_id == ("9" if isinstance(odd, dict) else None)


def test_an_answer_with_two_odd_spellings_of_a_field_is_no_error() -> None:
    odd = {"reservationId": {"no": "id"}, "reservation_id": ["none"], "success": True}
    (answer, _) = called(Recorder(odd), lambda a: a.charge_point.reserve(1, 2, user_id=3))
    assert (answer.success, answer.reservation_id) == (True, None)


def test_booking_slots_are_typed_to_the_bottom() -> None:
    slots = [{"evseId": 3, "availableSlots": [{"startAt": "2026-11-24T10:00:00Z", "endAt": None}]}]
    (answer, _) = called(
        Recorder({"data": slots}),
        lambda a: a.location.check_booking_availability(1, start_after="x", end_before="y"),
    )
    assert answer.data[0].evse_id == "3"
    assert answer.data[0].available_slots[0].start_at == datetime(2026, 11, 24, 10, tzinfo=UTC)


def test_ids_are_sent_as_ampeco_types_them() -> None:
    """Our models have ids as text; AMPECO wants some as numbers, and others as text."""
    recorder = Recorder()
    called(recorder, lambda a: a.charge_point.start(1, "2", user_id="4711", payment_method_id=17))
    assert recorder.body == {"userId": 4711, "paymentMethodId": "17"}
    called(
        recorder, lambda a: a.evse.bulk_assign_tariff_group(tariff_group_id=None, filters={"evseIds": ["5"]})
    )
    assert recorder.body == {"tariffGroupId": None, "filters": {"evseIds": [5]}}


def test_moments_are_written_as_each_action_wants_them() -> None:
    at = datetime(2026, 11, 24, 12, 0, 0, 250_000, tzinfo=timezone(timedelta(hours=2)))
    recorder = Recorder()
    called(recorder, lambda a: a.electricity_meter.report_consumption(1, timestamp=at))
    assert recorder.body == {"timestamp": "2026-11-24T10:00:00.250Z"}
    called(recorder, lambda a: a.charge_point.get_security_log(1, url="u", reason="r", start_time=at))
    assert recorder.body["startTime"] == "2026-11-24 10:00:00"
    called(
        recorder,
        lambda a: a.notifications.resend_failed(1, notifications=["a"], start_time=at, end_time=at),
    )
    assert recorder.body["startTime"] == "2026-11-24T10:00:00Z"
    assert recorder.body["endTime"] == "2026-11-24T10:00:01Z"  # the window never shrinks
    called(
        recorder,
        lambda a: a.flexibility_asset.create_activation_request(
            1, periods=[{"startTime": at, "endTime": at}]
        ),
    )
    assert recorder.body["periods"][0]["endTime"] == "2026-11-24T10:00:00.250Z"
    with pytest.raises(ValueError, match="time zone"):
        moment(at.replace(tzinfo=None))


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        (date(2026, 11, 24), "2026-11-24"),
        (datetime(2026, 11, 25, 1, tzinfo=timezone(timedelta(hours=2))), "2026-11-24"),
        ("2026-11-24", "2026-11-24"),
    ],
)
def test_a_date_is_sent_without_a_time(given: date | str, sent: str) -> None:
    recorder = Recorder()
    called(recorder, lambda a: a.user.activate_subscription(1, plan_id=2, end_date=given))
    assert recorder.body["endDate"] == sent


def test_text_is_not_taken_for_a_list() -> None:
    with pytest.raises(ValueError, match="notifications must be a list"):
        called(Recorder(), lambda a: a.notifications.resend_failed(1, notifications="abc"))


def test_members_that_are_newer_than_the_facts_can_be_sent() -> None:
    recorder = Recorder()
    called(recorder, lambda a: a.charge_point.disconnect(1, reason="r", extra={"newer": [1]}))
    assert recorder.body == {"reason": "r", "newer": [1]}
    called(recorder, lambda a: a.charge_point.unlock(1, 2, extra={"newer": 1}))
    assert recorder.body == {"newer": 1}


def test_what_was_not_given_shows_as_such() -> None:
    assert repr(UNSET) == "UNSET"
    assert not UNSET


def test_names_of_actions_are_their_python_paths() -> None:
    def named(operation: Operation) -> bool:
        noun, verb = operation.name.replace("-", "_").split(".")
        return callable(getattr(getattr(client.actions, noun), verb))

    with Client("https://t", TOKEN, transport=httpx2.MockTransport(Recorder())) as client:
        assert all(named(o) for o in OPERATIONS.values() if o.kind == "action")
