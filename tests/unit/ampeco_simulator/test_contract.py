"""Every operation of the published contract, called by both clients at the simulator: request and answer are judged.

What is judged by is the contract itself, see `contract_rules`.
"""

import asyncio
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import httpx2
import pytest

from ampeco.client import AsyncClient, Client, RetryPolicy
from ampeco.contract.merging import flattened
from ampeco.contract.values import example
from ampeco.errors import ApiError, Invalid
from ampeco.facts.shapes import field_name
from ampeco.listing import Listing, narrowing
from ampeco.operations import VERSIONS
from ampeco.simulator.switches import Habits
from ampeco.simulator.testing import Box, tenant_in_a_box
from ampeco.wire import WireRequest, build
from tests.unit.ampeco_simulator.contract_rules import (
    OPERATIONS,
    OVERLAPPING,
    answer_faults,
    operation_of,
    request_faults,
    schema,
)

ONCE = RetryPolicy(attempts=1)
CALLBACK = "https://receiver.example/webhooks/ampeco"  # nothing is announced in these tests
WORDS = {
    "date": "2026-11-24",
    "key": "HeartbeatInterval",
    "phase": "L1",
    "type": "soft",
    "weekDay": "mon",
}
BY_PATH = {(operation.method, operation.path): operation for operation in VERSIONS.values()}


class Judge:
    """Looks at each request and its answer.

    Attributes:
        seen: how often each operation was called.
        faults: what was wrong.
    """

    def __init__(self) -> None:
        self.seen: Counter[str] = Counter()
        self.faults: list[str] = []

    def look(self, request: httpx2.Request, response: httpx2.Response) -> None:
        """Judge one call."""
        operation = operation_of(request.method, request.url.path)
        if operation is None:
            self.faults.append(f"{request.method} {request.url.path}: not in the contract")
            return
        self.seen[operation] += 1
        self.faults += [
            f"{operation}: request: {fault}"
            for fault in request_faults(operation, request.url.query.decode(), request.content)
        ]
        self.faults += [
            f"{operation}: answer: {fault}"
            for fault in answer_faults(operation, response.status_code, response.content)
        ]


class Judged(httpx2.HTTPTransport):
    """The network, with a judge on it."""

    def __init__(self, judge: Judge) -> None:
        super().__init__()
        self.judge = judge

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        response = super().handle_request(request)
        response.read()
        self.judge.look(request, response)
        return response


class AsyncJudged(httpx2.AsyncHTTPTransport):
    """The same for the asynchronous client."""

    def __init__(self, judge: Judge) -> None:
        super().__init__()
        self.judge = judge

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        response = await super().handle_async_request(request)
        await response.aread()
        self.judge.look(request, response)
        return response


@pytest.fixture(scope="module", params=["async", "sync"])
def called(request: pytest.FixtureRequest) -> Judge:
    """Everything called once with as little as possible and once with everything that is documented."""
    judge = Judge()
    with tenant_in_a_box(habits=Habits(resend_every_s=0)) as box:
        requests = list(every_request(ids(box)))
        if request.param == "async":
            asyncio.run(call_all(box, judge, requests))
        else:
            with Client(box.url, box.token, retry=ONCE, transport=Judged(judge)) as client:
                for one in requests:
                    noted(judge, one, lambda one=one: client._run(just(one)))
    return judge


async def call_all(box: Box, judge: Judge, requests: list[WireRequest]) -> None:
    async with AsyncClient(box.url, box.token, retry=ONCE, transport=AsyncJudged(judge)) as client:
        for one in requests:
            try:
                await client._run(just(one))
            except ApiError as error:
                judge.faults.append(f"{one.method} {one.operation.path}: {error} {error.body}")


def noted(judge: Judge, request: WireRequest, call: Callable[[], object]) -> None:
    try:
        call()
    except ApiError as error:
        judge.faults.append(f"{request.method} {request.operation.path}: {error} {error.body}")


def just(request: WireRequest) -> Any:
    return (yield request)


def ids(box: Box) -> Mapping[str, list[str]]:
    """Names of path parameters -> ids that exist, those that belong together first."""
    box.start(charge_points=50, behaviour={"idle_s": [30, 40_000]})
    box.stop()
    session = box.sample("SessionUpdateNotification")["session"]
    number, charge_point = int(session["id"]), session["chargePointId"]
    with Client(box.url, box.token) as client:
        for _ in range(3):
            client.notifications_v1.subscribe(["BootNotification"], callback_url=CALLBACK)
        evses = [evse.model_dump(by_alias=True) for evse in client.resources.evses.list(version="2.1")]
    return {
        "authorization": [str(number + 500_000)],
        "cdr": [str(number + 400_000)],
        "chargePoint": [str(charge_point), "2" if charge_point != 2 else "3"],
        "evse": [str(session["evseId"])],
        "free": [str(evse["id"]) for evse in evses if evse["hardwareStatus"] == "available"],
        "location": ["1", "2"],
        "notification": ["1", "2", "3"],
        "paymentMethodId": [session["paymentMethodId"]],
        "session": [session["id"]],
        "transaction": [str(number + 300_000)],
        "user": [str(session["userId"])],
    }


def every_request(known: Mapping[str, list[str]]) -> Iterator[WireRequest]:
    """Two requests of each operation; what removes things comes last, and the deepest of it first."""
    removing = [key for key in OPERATIONS if key.startswith("DELETE")]
    for key in OPERATIONS:
        if key not in removing:
            yield from requests_of(key, known, 0)
    removed: Counter[str] = Counter()
    for key in sorted(removing, key=lambda key: -key.count("/")):
        operation = BY_PATH[tuple(key.split(" "))]  # type: ignore[index]
        collection = re.sub(r"/v\d\.\d|\{\w+\}", "", operation.path)
        removed[collection] += 1
        yield from requests_of(key, known, removed[collection] - 1, once=True)


def requests_of(
    key: str, known: Mapping[str, list[str]], number: int, *, once: bool = False
) -> Iterator[WireRequest]:
    operation, entry = BY_PATH[tuple(key.split(" "))], OPERATIONS[key]  # type: ignore[index]
    parameters = {name: parameter(name, known, 0) for name in operation.parameters}
    if operation.parameters and number:
        parameters[operation.parameters[-1]] = parameter(operation.parameters[-1], known, number)
    if key == "DELETE /public-api/notifications/v2.0/{notification}":
        parameters["notification"] = "3"
    for full in (False,) if once else (False, True):
        if ".start" in operation.name:  # each needs an EVSE that is free
            evse = known["free"].pop()
            parameters |= {name: evse if name == "evse" else evse[:-1] for name in operation.parameters}
        body = None
        if "body" in entry and (full or entry["body_required"]):
            overlapping = OVERLAPPING.search(key) is not None
            wanted = flattened(schema(entry["body"], without="ro", overlapping=overlapping))
            body = example(wanted, full=full or "notifications" in key)
        yield build(operation, parameters, body, query(entry) if full else ())


def parameter(name: str, known: Mapping[str, list[str]], number: int) -> str:
    if name in WORDS:
        return WORDS[name]
    return known.get(name, ["1", "2", "3"])[number]


def query(entry: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Every declared parameter of the query; a cursor only where an empty one is documented."""
    pairs: list[tuple[str, str]] = []
    for written, shape in entry.get("parameters", {}).items():
        place, _, rest = written.partition(" ")
        name, _ = field_name(rest)
        if place != "query":
            continue
        if name == "cursor":
            pairs += [("cursor", "")] if entry.get("paging") == "empty-cursor" else []
            continue
        pairs += narrowing(query=dict(deep(name, example(flattened(schema(shape)), name, full=True))))
    return tuple(pairs)


def deep(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """`filter[status]` for what is inside an object."""
    if isinstance(value, dict):
        for inner, part in value.items():
            yield from deep(f"{name}[{inner}]", part)
    else:
        yield name, value


def test_every_operation_is_asked_for_and_answered_as_the_contract_says(called: Judge) -> None:
    assert called.faults == []
    assert called.seen.keys() == OPERATIONS.keys()
    assert len(OPERATIONS) == 452


LISTINGS = [
    operation
    for key, entry in OPERATIONS.items()
    if (operation := BY_PATH[tuple(key.split(" "))]).name.endswith(".list")  # type: ignore[index]
    and "meta" in str(entry["answers"].get("200", ""))
]


def test_every_listing_is_walked_as_the_contract_says() -> None:
    judge = Judge()
    with tenant_in_a_box() as box, Client(box.url, box.token, retry=ONCE, transport=Judged(judge)) as client:
        known = ids(box)
        for operation in LISTINGS:
            parameters = {name: parameter(name, known, 0) for name in operation.parameters}
            listing = Listing(operation, parameters, item=lambda entry: entry)
            noted(judge, build(operation, parameters), lambda listing=listing: list(client._walk(listing)))
    assert len(judge.seen) == len(LISTINGS)
    assert judge.faults == []


WRITES = [key for key, entry in OPERATIONS.items() if entry.get("body_required")]


def test_a_body_of_the_wrong_kind_is_refused_as_the_contract_says() -> None:
    """422 where it is documented, with what is wrong by field, for every operation."""
    judge, untried = Judge(), []
    with tenant_in_a_box() as box, Client(box.url, box.token, retry=ONCE, transport=Judged(judge)) as client:
        known = ids(box)
        for key in WRITES:
            entry, operation = OPERATIONS[key], BY_PATH[tuple(key.split(" "))]  # type: ignore[index]
            parameters = {name: parameter(name, known, 0) for name in operation.parameters}
            wanted = flattened(schema(entry["body"], without="ro"))
            if "422" not in entry["answers"] or not wanted.get("properties"):
                untried.append(key)
                continue
            field = next(iter(wanted.get("required") or wanted["properties"]))
            with pytest.raises(Invalid) as refused:
                client._run(just(build(operation, parameters, {field: {"no": ["such", "kind"]}})))
            assert any(place.startswith(field) for place in refused.value.errors), (key, refused.value)
    assert [fault for fault in judge.faults if ": answer: " in fault] == []
    assert len(untried) == 18  # their body is a list or one of several, or 422 is not documented


@pytest.mark.parametrize("status", [406, 501])
def test_a_refusal_on_demand_is_as_the_contract_says(status: int) -> None:
    chosen = [
        BY_PATH[tuple(key.split(" "))]  # type: ignore[index]
        for key, entry in OPERATIONS.items()
        if str(status) in entry["answers"]
    ]
    judge = Judge()
    habits = Habits(refusals={operation.name: status for operation in chosen})
    with (
        tenant_in_a_box(habits=habits) as box,
        Client(box.url, box.token, retry=ONCE, transport=Judged(judge)) as client,
    ):
        for operation in chosen:
            parameters = {name: parameter(name, {}, 0) for name in operation.parameters}
            with pytest.raises(ApiError) as refused:
                client._run(just(build(operation, parameters)))
            assert refused.value.status == status
        assert box.actions() == []
    assert len(chosen) == {406: 34, 501: 6}[status]
    assert [fault for fault in judge.faults if ": answer: " in fault] == []
