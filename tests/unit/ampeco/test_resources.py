"""Every endpoint of resources and logs through both clients, and how their answers are read."""

import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta, timezone
from functools import reduce
from pathlib import Path
from typing import Any

import httpx2
import pytest

from ampeco.client import Client
from ampeco.errors import FieldMisfit, NotFound, ServerFault
from ampeco.models import objects
from ampeco.models.objects import OBJECTS
from ampeco.newer import AsIs
from ampeco.operations import OPERATIONS, VERSIONS, Operation, operation_at
from ampeco.resources import asynchronous, synchronous
from ampeco.simulator.testing import tenant_in_a_box
from tests.unit.ampeco.scripted import Caller, Journal, Tenant, ok

FACTS = Path(__file__).parents[3] / "ampeco" / "facts"
ENDPOINTS = json.loads((FACTS / "resources.json").read_text())
BODY = {"name": "x", "nested": {"a": [1, None]}}


def operation_of(endpoint: Mapping[str, Any]) -> Operation:
    [found] = [
        operation
        for operation in VERSIONS.values()
        if (operation.method, operation.path) == (endpoint["method"], endpoint["path"])
    ]
    return found


def method_of(client: Any, operation: Operation) -> Any:
    """`resources.id-tags.read` -> `client.resources.id_tags.read`."""
    return reduce(getattr, operation.name.replace("-", "_").split("."), client)


def numbered(path: str) -> tuple[str, list[str]]:
    """The path with `id1`, `id2` ... for its parameters, and these."""
    ids: list[str] = []

    def take(_: re.Match[str]) -> str:
        ids.append(f"id{len(ids) + 1}")
        return ids[-1]

    return re.sub(r"\{\w+\}", take, path), ids


class Everything:
    """Answers a list where one is asked for, else an object."""

    def __init__(self) -> None:
        self.requests: list[httpx2.Request] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        is_list = operation_at(request.method, request.url.path).name.endswith(".list")
        return ok({"data": [] if is_list else {"id": 5}})


async def awaited(result: Any) -> Any:
    return [entry async for entry in result] if hasattr(result, "__aiter__") else await result


def plainly(result: Any) -> Any:
    return list(result) if isinstance(result, Iterator) else result


def call_of_each(client: Any) -> Iterator[Any]:
    for endpoint in ENDPOINTS:
        operation = operation_of(endpoint)
        body = [BODY] if endpoint["method"] in ("POST", "PUT", "PATCH") else []
        arguments = [*numbered(endpoint["path"])[1], *body]
        yield method_of(client, operation)(*arguments, version=endpoint["version"])


async def all_awaited(client: Any) -> None:
    for result in call_of_each(client):
        await awaited(result)


def test_each_of_the_461_endpoints_is_called_with_the_method_and_path_of_the_facts(through: Caller) -> None:
    tenant: Any = Everything()
    if through.kind == "async":
        through(tenant, all_awaited)
    else:
        through(tenant, lambda client: [plainly(result) for result in call_of_each(client)])
    assert len(ENDPOINTS) == 461
    sent = [(request.method, request.url.path) for request in tenant.requests]
    assert sent == [(endpoint["method"], numbered(endpoint["path"])[0]) for endpoint in ENDPOINTS]
    for request in tenant.requests:
        writes = request.method in ("POST", "PUT", "PATCH")
        assert (json.loads(request.content) if request.content else None) == (BODY if writes else None)


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("resources.users.read", "1.0"),
        ("resources.users.payment-methods.list", "1.0"),
        ("resources.charge-points.status.read", "1.0"),
        ("resources.charge-points.update", "2.0"),
        ("resources.evses.notes.create", "2.0"),
        ("resources.evses.update", "2.1"),
        ("resources.partner-expenses.list", "1.1"),
        ("resources.currencies.delete", "2.0"),
        ("resources.rfid-tags.read", "1.0"),
    ],
)
def test_without_a_version_one_that_the_contract_has_is_called(
    through: Caller, name: str, version: str
) -> None:
    """Of several the newest that is not deprecated; without any the newest that later indexes name."""
    tenant: Any = Everything()
    operation = OPERATIONS[name]
    arguments = [
        *("7" for _ in operation.parameters),
        *([BODY] if operation.method in ("POST", "PATCH") else []),
    ]

    def call(client: Any) -> Any:
        result = method_of(client, operation)(*arguments)
        return awaited(result) if through.kind == "async" else plainly(result)

    through(tenant, call)
    assert f"/v{version}" in tenant.requests[0].url.path
    assert VERSIONS[name, version] is operation


def test_the_first_call_for_a_payment_method_gives_what_the_second_needs(through: Caller) -> None:
    """One answer is a step and the other the payment method, so none of them is typed."""
    step = {"transactionId": 12, "redirectUrl": "https://pay.example/1"}
    method = {"id": "34", "type": "tokenized"}
    tenant = Tenant([ok(step), ok({"data": method}, 201)])
    made = [through(tenant, lambda c: c.resources.users.payment_methods.create(7, {})) for _ in range(2)]
    assert made == [step, method]


def test_an_unknown_version_is_refused_with_those_that_exist(through: Caller) -> None:
    tenant = Tenant([])
    with pytest.raises(ValueError, match=r"resources\.users\.read exists in version 1\.0, 1\.1, not 9\.9"):
        through(tenant, lambda c: c.resources.users.read(7, version="9.9"))
    with pytest.raises(ValueError, match=r"exists in version"):
        through(tenant, lambda c: c.resources.users.list(version="9.9"))
    assert tenant.requests == []


def test_nouns_say_which_versions_are_deprecated() -> None:
    for endpoint in ENDPOINTS:
        operation = operation_of(endpoint)
        for roots in (asynchronous.AsyncResources, synchronous.Resources):
            if operation.name.startswith("resources."):
                noun = reduce(getattr, operation.name.replace("-", "_").split(".")[1:-1], roots(None, None))  # type: ignore[arg-type]
                assert (f"{operation.version} (deprecated)" in (noun.__doc__ or "")) >= operation.deprecated


def test_a_call_with_too_few_or_too_many_ids_names_those_of_the_path(through: Caller) -> None:
    tenant = Tenant([])
    for call in (
        lambda c: c.resources.charge_points.evses.connectors.read(7, 8),
        lambda c: c.resources.charge_points.evses.connectors.delete(7, 8, 9, 10),
        lambda c: c.resources.charge_points.evses.connectors.update(7, 8, BODY),
        lambda c: c.resources.charge_points.evses.connectors.update(7, 8, body=BODY),
    ):
        with pytest.raises(TypeError, match=r"takes chargePoint, evse, connector in the path, not [24] ids"):
            through(tenant, call)
    with pytest.raises(TypeError, match=r"resources\.users\.create needs a body"):
        through(tenant, lambda c: c.resources.users.create())
    assert tenant.requests == []


def test_a_body_may_be_named(through: Caller) -> None:
    tenant = Tenant([ok({"data": {"id": 7}}), ok({"data": {"id": 7}})])
    through(tenant, lambda c: c.resources.users.update(7, body=BODY))
    through(tenant, lambda c: c.resources.users.create(body=AsIs(newField=1)))
    assert tenant.bodies == [BODY, {"newField": 1}]


def test_moments_in_a_body_are_written_in_utc(through: Caller) -> None:
    tenant = Tenant([ok({"data": {"id": 7}})])
    at = datetime(2026, 11, 24, 5, tzinfo=timezone(timedelta(hours=2)))
    through(tenant, lambda c: c.resources.users.update(7, {"a": [{"at": at}], "b": at}))
    assert tenant.bodies == [{"a": [{"at": "2026-11-24T03:00:00Z"}], "b": "2026-11-24T03:00:00Z"}]


def test_ids_stay_inside_their_path_segment(through: Caller) -> None:
    tenant = Tenant([ok({"data": {"id": 1}})])
    through(tenant, lambda c: c.resources.charge_points.evses.connectors.read("../9?a=b", 3, "4/5"))
    assert tenant.requests[0].url.raw_path == (
        b"/public-api/resources/charge-points/v2.0/..%2F9%3Fa%3Db/evses/3/connectors/4%2F5"
    )


def test_answers_are_of_the_class_of_their_version(through: Caller) -> None:
    tenant = Tenant([ok({"data": {"id": 7, "status": "x"}}) for _ in range(4)] + [ok({"id": 7})])
    classes = [
        type(through(tenant, call)).__name__
        for call in (
            lambda c: c.resources.charge_points.read(7),
            lambda c: c.resources.charge_points.read(7, version="1.0"),
            lambda c: c.resources.charge_points.update(7, BODY),
            lambda c: c.resources.evses.read(7, version="2.0"),
            lambda c: c.resources.sessions.read(7),  # without an envelope
        )
    ]
    assert classes == ["ChargePoint", "ChargePointV1", "ChargePoint", "dict", "Session"]


@pytest.mark.parametrize("title", sorted(OBJECTS))
def test_each_schema_of_a_resource_types_its_reads_and_lists(title: str) -> None:
    schema = json.loads((FACTS / "schemas" / f"{title}.json").read_text())
    told = re.match(r"GET (/public-api/resources/\S+)", schema["x-resource"])
    if told is None:
        return  # of a payload, or a part of something
    path = told[1]
    read = {operation.path: operation for operation in VERSIONS.values() if operation.method == "GET"}
    assert read[path].answer == title
    if path.endswith("}"):
        listed = read.get(path[: path.rindex("/")])
        assert listed is None or listed.answer == title


def test_unknown_fields_are_kept(through: Caller) -> None:
    session = through(
        Tenant([ok({"data": {"id": 7, "isNew": True}})]), lambda c: c.resources.sessions.read("7")
    )
    assert (session.id, session.model_extra) == ("7", {"isNew": True})


def test_a_field_that_does_not_fit_stays_as_it_was_sent(through: Caller) -> None:
    odd = {"id": 7, "energy": {"wh": 5}, "tax": "none", "startedAt": "2026-11-24T03:00:00Z", "isNew": 1}
    session = through(Tenant([ok({"data": odd})]), lambda c: c.resources.sessions.read(7))
    assert (session.id, session.started_at) == ("7", datetime(2026, 11, 24, 3, tzinfo=UTC))
    assert (session.energy, session.tax) == ({"wh": 5}, "none")
    assert session.model_extra == {"isNew": 1}
    assert session.amount is None
    assert "amount" not in session.model_fields_set


def test_an_object_without_its_id_costs_only_the_id(through: Caller) -> None:
    session = through(Tenant([ok({"data": {"status": "active"}})]), lambda c: c.resources.sessions.read(7))
    assert session.status == "active"
    with pytest.raises(FieldMisfit):
        _ = session.id


def test_one_odd_entry_does_not_end_a_list(through: Caller) -> None:
    def entries(client: Any) -> Any:
        found = client.resources.sessions.list()
        return awaited(found) if through.kind == "async" else plainly(found)

    answer = ok({"data": [{"id": 1, "energy": []}, {"id": 2, "energy": 5}, 3]})
    first, second, third = through(Tenant([answer]), entries)
    assert (first.energy, second.energy, third) == ([], 5.0, 3)


@pytest.mark.parametrize("document", [None, [], {"data": None}, {"data": [{"id": 7}]}, "text"])
def test_a_read_that_answers_no_object_is_a_fault_that_keeps_the_answer(
    through: Caller, document: Any
) -> None:
    for noun in ("sessions", "currencies"):  # with a class, without one
        with pytest.raises(
            ServerFault, match=rf"resources\.{noun}\.read: the answer is not an object"
        ) as caught:
            through(Tenant([ok(document)]), lambda c, noun=noun: getattr(c.resources, noun).read(7))
        assert caught.value.body == json.dumps(document)


@pytest.mark.parametrize("document", [{}, {"message": "Unauthenticated."}, {"success": False, "code": 7}])
def test_a_read_that_answers_a_message_is_no_object_without_fields(through: Caller, document: Any) -> None:
    with pytest.raises(ServerFault, match=r"resources\.users\.read: the answer is another object") as caught:
        through(Tenant([ok(document)]), lambda c: c.resources.users.read(7))
    assert caught.value.body == json.dumps(document)


def test_what_may_be_a_list_is_given_as_it_is(through: Caller) -> None:
    tenant = Tenant([ok({"data": [{"phase": "L1"}]}), ok({"data": {"phase": "L1"}})])
    assert through(tenant, lambda c: c.resources.circuits.consumption.read(7)) == [{"phase": "L1"}]
    assert through(tenant, lambda c: c.resources.circuits.consumption.read(7)) == {"phase": "L1"}


@pytest.mark.parametrize(
    ("document", "result"), [(None, None), ([], None), ({"data": None}, None), ("ok", None)]
)
def test_a_write_is_done_whatever_is_answered(through: Caller, document: Any, result: Any) -> None:
    tenant = Tenant([ok(document, 202), ok(document, 204)])
    assert through(tenant, lambda c: c.resources.users.update(7, BODY)) is result
    assert through(tenant, lambda c: c.resources.users.delete(7)) is None


def test_a_write_without_a_class_answers_as_sent(through: Caller) -> None:
    tenant = Tenant([ok({"data": {"id": 7, "text": "x"}}, 201), ok(status=204)])
    create = lambda c: c.resources.users.notes.create(7, {"text": "x"})  # noqa: E731
    assert through(tenant, create) == {"id": 7, "text": "x"}
    assert through(tenant, create) is None


def test_an_object_is_written_with_the_fields_it_was_made_with(through: Caller) -> None:
    tenant = Tenant([ok({"data": {"id": 7}})] * 2)
    body = objects.Transaction(id="7", finalized_at=datetime(2026, 11, 24, 3, tzinfo=UTC), newField=5)
    through(tenant, lambda c: c.resources.users.update(7, body))
    through(tenant, lambda c: c.resources.users.update(7, [1]))
    assert tenant.bodies == [{"id": "7", "finalizedAt": "2026-11-24T03:00:00Z", "newField": 5}, [1]]


def test_an_object_survives_json() -> None:
    """As the record of a once-only step it is written and read again; a warning there refuses it."""
    payment = objects.Transaction.model_validate(
        {"id": 7, "finalizedAt": "2026-11-24T03:00:00+02:00", "isNew": 1}
    )
    text = payment.model_dump_json(by_alias=True, exclude_none=True, warnings="error")
    assert json.loads(text) == {"id": "7", "finalizedAt": "2026-11-24T01:00:00Z", "isNew": 1}
    assert objects.Transaction.model_validate_json(text) == payment


def test_reads_carry_includes_and_further_query(through: Caller) -> None:
    tenant = Tenant([ok({"data": {"id": 7}})])
    through(tenant, lambda c: c.resources.users.read(7, include=["notes", "tags"], query={"lang": "bg"}))
    assert tenant.requests[0].url.params.multi_items() == [
        ("include[]", "notes"),
        ("include[]", "tags"),
        ("lang", "bg"),
    ]


def test_what_sets_values_is_repeated_and_what_adds_is_not(through: Caller) -> None:
    for operation in VERSIONS.values():
        if operation.name.startswith(("resources.", "logs.")):
            assert operation.idempotent == (operation.method != "POST")
            assert operation.kind == ("read" if operation.method == "GET" else "write")
    tenant = Tenant([ok(status=503), ok({"data": {"id": 7}})])
    assert through(tenant, lambda c: c.resources.users.update(7, BODY)).id == "7"
    tenant = Tenant([ok(status=503)])
    with pytest.raises(ServerFault):
        through(tenant, lambda c: c.resources.users.create(BODY))
    assert len(tenant.requests) == 1


def test_removing_what_is_not_there_is_said(through: Caller) -> None:
    with pytest.raises(NotFound):
        through(Tenant([ok({"message": "no"}, 404)]), lambda c: c.resources.users.delete(7))


def test_the_gate_sees_the_names_of_the_table(through: Caller) -> None:
    gate = Journal()
    through(Tenant([ok({"data": {"id": 7}})]), lambda c: c.resources.users.update(7, BODY), gate)
    assert gate.seen[0] == ("admit", "resources.users.update", "/public-api/resources/users/v1.0/7")


def test_nouns_are_made_when_asked_for_and_then_kept() -> None:
    resources = synchronous.Resources(None, None)  # type: ignore[arg-type]
    assert resources.users.notes is resources.users.notes
    assert vars(resources).keys() == {"_run", "_walk", "_name", "users"}
    assert resources.users.notes._name == "resources.users.notes"


def test_a_tenant_is_read_and_written_over_http() -> None:
    with tenant_in_a_box() as box, Client(box.url, box.token) as client:
        box.start(charge_points=120)
        box.stop()
        users = client.resources.users
        made = users.create({"email": "driver@tenant.example", "password": "secret", "first_name": "Ada"})
        assert made is not None
        users.update(made.id, {"locale": "bg"})
        assert (users.read(made.id).email, users.read(made.id).locale) == ("driver@tenant.example", "bg")
        assert made.id in [user.id for user in users.list(per_page=50)]
        users.delete(made.id)
        with pytest.raises(NotFound):
            users.read(made.id)
        for habits in ({}, {"cursor_name": "cursor"}, {"listings": "page"}):
            box.change_habits(**habits)
            found = [point.id for point in client.resources.charge_points.list(per_page=50)]
            assert len(found) == len(set(found)) == 120
        assert [type(point).__name__ for point in client.resources.charge_points.list(version="1.0")][:1] == [
            "ChargePointV1"
        ]
