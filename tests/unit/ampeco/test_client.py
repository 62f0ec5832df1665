"""Both clients say the same to AMPECO, ask their gate first, and never show the token."""

import asyncio
import json
import traceback
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx2
import pytest

from ampeco.client import AsyncClient, Client, NotificationSubscription
from ampeco.errors import ApiError, NoAnswer, NotFound, NotSent, ServerFault, Unauthorized
from ampeco.operations import Operation
from ampeco.wire import WireRequest

TOKEN = "tok/en-0123456789abcdef"
URL = "https://tenant.example"
Answer = Callable[[httpx2.Request], httpx2.Response]


@dataclass
class Tenant:
    """A scripted tenant: hands out answers in order and keeps the requests."""

    answers: list[Any]
    requests: list[httpx2.Request] = field(default_factory=list)

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    @property
    def bodies(self) -> list[Any]:
        return [json.loads(request.content) if request.content else None for request in self.requests]


@dataclass
class Journal:
    """A gate that notes what it sees and refuses what it is told to."""

    refused: frozenset[str] = frozenset()
    seen: list[tuple[str, ...]] = field(default_factory=list)

    def admit(self, operation: Operation, path: str) -> None:
        self.seen.append(("admit", operation.name, path))
        if operation.name in self.refused:
            raise KeyboardInterrupt("refused by the gate")

    def called(self, operation: Operation, path: str, outcome: str, status: int | None) -> None:
        self.seen.append(("called", operation.name, outcome, str(status)))


def ok(document: Any = None, status: int = 200, **headers: str) -> httpx2.Response:
    return httpx2.Response(status, content=b"" if document is None else json.dumps(document), headers=headers)


def subscription(number: int, url: str = "https://us.example/hook") -> dict[str, Any]:
    return {"id": number, "via": "webhook", "notifications": ["a"], "webhook": {"callbackUrl": url}}


def run(client: AsyncClient, call: Callable[[AsyncClient], Coroutine[Any, Any, Any]]) -> Any:
    async def main() -> Any:
        async with client:
            return await call(client)

    return asyncio.run(main())


@pytest.fixture(params=["async", "sync"])
def through(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Make a call through either client: `through(tenant, lambda client: client.notifications.list())`."""

    def do(tenant: Tenant, call: Callable[[Any], Any], gate: Journal | None = None) -> Any:
        transport = httpx2.MockTransport(tenant)
        if request.param == "async":
            return run(
                AsyncClient(URL, TOKEN, transport=transport),
                lambda client: call(client if gate is None else client.gated(gate)),
            )
        with Client(URL, TOKEN, transport=transport) as client:
            return call(client if gate is None else client.gated(gate))

    return do


def test_subscribes(through: Callable[..., Any]) -> None:
    tenant = Tenant([ok({"data": subscription(7)}, 201)])
    found = through(
        tenant, lambda c: c.notifications.subscribe(["a"], callback_url="https://us.example/hook")
    )
    assert found == NotificationSubscription("7", "webhook", ("a",), "https://us.example/hook")
    [request] = tenant.requests
    assert (request.method, str(request.url)) == ("POST", f"{URL}/public-api/notifications/v2.0")
    assert request.headers["authorization"] == f"Bearer {TOKEN}"
    assert request.headers["user-agent"].startswith("ampeco-receiver/")
    assert request.headers["content-type"] == "application/json"
    assert tenant.bodies == [
        {"via": "webhook", "notifications": ["a"], "webhook": {"callbackUrl": "https://us.example/hook"}}
    ]


def test_lists_all_pages(through: Callable[..., Any]) -> None:
    tenant = Tenant(
        [
            ok({"data": [subscription(1), subscription(2)], "meta": {"next_cursor": "p2"}}),
            ok({"data": [subscription(2), subscription(3)], "meta": {"next_cursor": None}}),
        ]
    )
    found = through(tenant, lambda c: c.notifications.list())
    assert [entry.id for entry in found] == ["1", "2", "3"]
    assert [dict(request.url.params) for request in tenant.requests] == [
        {"cursor": "null", "per_page": "100"},
        {"cursor": "p2", "per_page": "100"},
    ]


def test_a_list_that_goes_round_in_circles_ends(through: Callable[..., Any]) -> None:
    part = {"data": [subscription(1)], "meta": {"next_cursor": "same"}}
    assert len(through(Tenant([ok(part), ok(part)]), lambda c: c.notifications.list())) == 1


def test_a_list_that_never_ends_is_given_up() -> None:
    def endless(request: httpx2.Request) -> httpx2.Response:
        return ok({"data": [], "meta": {"next_cursor": request.url.params["cursor"] + "x"}})

    with Client(URL, TOKEN, transport=httpx2.MockTransport(endless)) as client, pytest.raises(ServerFault):
        client.notifications.list()


def test_reads_both_shapes_of_a_notification_subscription(through: Callable[..., Any]) -> None:
    old = {"webhookId": 7, "notifications": ["a"], "callbackUrl": "https://us.example/hook"}
    for document in ({"data": subscription(7)}, subscription(7), old):
        tenant = Tenant([ok(document)])
        found = through(tenant, lambda c: c.notifications.read("7"))
        assert found == NotificationSubscription("7", "webhook", ("a",), "https://us.example/hook")
        assert tenant.requests[0].url.path == "/public-api/notifications/v2.0/7"


def test_kafka_has_no_callback_url(through: Callable[..., Any]) -> None:
    document = {"data": {"id": 1, "via": "kafka", "notifications": ["a"], "kafka": {"topic": "t"}}}
    assert through(Tenant([ok(document)]), lambda c: c.notifications.read("1")).callback_url is None


@pytest.mark.parametrize("document", [None, [], {"data": {}}, {"data": {"id": None}}, {"data": "x"}])
def test_an_answer_without_a_notification_subscription_is_their_fault(
    through: Callable[..., Any], document: Any
) -> None:
    with pytest.raises(ServerFault):
        through(Tenant([ok(document)]), lambda c: c.notifications.subscribe(["a"], callback_url="https://x"))


def test_updates_and_believes_an_empty_answer(through: Callable[..., Any]) -> None:
    tenant = Tenant([ok()])
    found = through(tenant, lambda c: c.notifications.update("7", ["a", "b"], callback_url="https://x"))
    assert found == NotificationSubscription("7", "webhook", ("a", "b"), "https://x")
    assert tenant.requests[0].method == "PUT"
    assert tenant.bodies[0]["via"] == "webhook"


@pytest.mark.parametrize("status", [200, 204, 404])
def test_unsubscribing_what_is_gone_is_fine(through: Callable[..., Any], status: int) -> None:
    tenant = Tenant([ok(status=status)])
    through(tenant, lambda c: c.notifications.unsubscribe("7"))
    assert tenant.requests[0].method == "DELETE"


def test_unsubscribing_without_permission_is_not(through: Callable[..., Any]) -> None:
    with pytest.raises(Unauthorized):
        through(Tenant([ok(status=401)]), lambda c: c.notifications.unsubscribe("7"))


def test_the_resend_window_is_sent_in_utc_and_never_shrinks(through: Callable[..., Any]) -> None:
    tenant = Tenant([ok(status=202), ok(status=202)])
    start = datetime(2026, 11, 24, 3, 50, 0, 900_000, UTC)
    end = datetime(2026, 11, 24, 3, 59, 59, 100_000, UTC)
    through(
        tenant, lambda c: c.actions.notifications.resend_failed("7", ["a"], start_time=start, end_time=end)
    )
    assert tenant.requests[0].url.path == "/public-api/actions/notifications/v1.0/7/resend"
    assert tenant.bodies == [
        {"notifications": ["a"], "startTime": "2026-11-24T03:50:00Z", "endTime": "2026-11-24T04:00:00Z"}
    ]
    through(tenant, lambda c: c.actions.notifications.resend_failed("7", ["a"]))
    assert tenant.bodies[1] == {"notifications": ["a"]}


def test_a_resend_window_without_a_time_zone_is_refused(through: Callable[..., Any]) -> None:
    naive = datetime(2026, 11, 24, 3, 50)  # noqa: DTZ001
    with pytest.raises(ValueError, match="time zone"):
        through(Tenant([]), lambda c: c.actions.notifications.resend_failed("7", ["a"], start_time=naive))


def test_resets_and_unlocks(through: Callable[..., Any]) -> None:
    tenant = Tenant([ok({"success": True}), ok(status=204), ok({"success": True})])
    through(tenant, lambda c: c.actions.charge_point.reset("12"))
    through(tenant, lambda c: c.actions.charge_point.reset("12", "hard"))
    through(tenant, lambda c: c.actions.charge_point.unlock("12", "34"))
    assert [(request.method, request.url.path) for request in tenant.requests] == [
        ("POST", "/public-api/actions/charge-point/v1.0/12/reset/soft"),
        ("POST", "/public-api/actions/charge-point/v1.0/12/reset/hard"),
        ("POST", "/public-api/actions/charge-point/v1.0/12/unlock/34"),
    ]


def test_foreign_characters_stay_inside_their_path_segment(through: Callable[..., Any]) -> None:
    tenant = Tenant([ok()])
    through(tenant, lambda c: c.actions.charge_point.unlock("../9?a=b#c", "3 4"))
    assert tenant.requests[0].url.raw_path == (
        b"/public-api/actions/charge-point/v1.0/..%2F9%3Fa%3Db%23c/unlock/3%204"
    )


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (httpx2.ConnectError("refused"), NotSent),
        (httpx2.ConnectTimeout(""), NotSent),
        (httpx2.PoolTimeout(""), NotSent),
        (httpx2.ReadTimeout(""), NoAnswer),
        (httpx2.WriteError("reset"), NoAnswer),
        (httpx2.ReadError("reset"), NoAnswer),
        (httpx2.RemoteProtocolError("closed"), NoAnswer),
        (httpx2.DecodingError("not gzip"), NoAnswer),
    ],
)
def test_tells_not_sent_from_no_answer(
    through: Callable[..., Any], fault: Exception, kind: type[ApiError]
) -> None:
    tenant = Tenant([fault])
    with pytest.raises(kind, match=type(fault).__name__) as caught:
        through(tenant, lambda c: c.actions.charge_point.reset("12"))
    assert caught.value.status is None
    assert len(tenant.requests) == 1


def test_a_read_that_was_not_sent_is_tried_once_more(through: Callable[..., Any]) -> None:
    tenant = Tenant([httpx2.ConnectError("refused"), ok({"data": []})])
    assert through(tenant, lambda c: c.notifications.list()) == []
    with pytest.raises(NotSent):
        through(
            Tenant([httpx2.ConnectError("refused"), httpx2.ConnectError("refused")]),
            lambda c: c.notifications.list(),
        )
    with pytest.raises(NoAnswer):
        through(Tenant([httpx2.ReadTimeout("")]), lambda c: c.notifications.list())


def test_a_redirect_is_not_followed(through: Callable[..., Any]) -> None:
    with pytest.raises(ServerFault, match="redirected"):
        through(Tenant([ok(status=302, location="https://evil.example/")]), lambda c: c.notifications.list())


def test_the_gate_is_asked_before_and_told_after_each_send(through: Callable[..., Any]) -> None:
    gate = Journal()
    tenant = Tenant([httpx2.ConnectError("refused"), ok({"data": []})])
    through(tenant, lambda c: c.notifications.list(), gate)
    path = "/public-api/notifications/v2.0"
    assert gate.seen == [
        ("admit", "notifications.list", path),
        ("called", "notifications.list", "not-sent", "None"),
        ("admit", "notifications.list", path),
        ("called", "notifications.list", "ok", "200"),
    ]


def test_the_gate_is_told_the_reason_of_an_error(through: Callable[..., Any]) -> None:
    gate = Journal()
    with pytest.raises(NotFound):
        through(Tenant([ok(status=404)]), lambda c: c.actions.charge_point.reset("12"), gate)
    assert gate.seen[-1] == ("called", "charge-point.reset", "not-found", "404")


def test_what_the_gate_refuses_is_not_sent(through: Callable[..., Any]) -> None:
    """With a BaseException too: that is how a lost lease stops a handler."""
    gate, tenant = Journal(frozenset({"charge-point.reset"})), Tenant([])
    with pytest.raises(KeyboardInterrupt):
        through(tenant, lambda c: c.actions.charge_point.reset("12"), gate)
    assert [entry[0] for entry in gate.seen] == ["admit"]
    assert tenant.requests == []


def test_the_gate_is_told_of_an_abandoned_call() -> None:
    gate = Journal()

    async def main() -> None:
        sent = asyncio.Event()

        async def never(request: httpx2.Request) -> httpx2.Response:
            sent.set()
            await asyncio.Event().wait()
            raise AssertionError

        async with AsyncClient(URL, TOKEN, transport=httpx2.MockTransport(never)) as client:
            task = asyncio.create_task(client.gated(gate).actions.charge_point.reset("12"))
            await sent.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(main())
    assert gate.seen[-1] == ("called", "charge-point.reset", "cancelled", "None")


def test_a_gated_view_shares_the_connections_and_does_not_close_them() -> None:
    tenant = Tenant([ok({"data": []}), ok({"data": []})])
    with Client(URL, TOKEN, transport=httpx2.MockTransport(tenant)) as client:
        with client.gated(Journal()) as view:
            view.notifications.list()
        assert client.notifications.list() == []


def test_nothing_shows_the_token(through: Callable[..., Any]) -> None:
    """Not even when AMPECO, or something in between, echoes it."""
    echo = {"message": f"token {TOKEN} is unknown", "errors": {"token": [TOKEN]}}
    escaped = json.dumps(echo).replace("/", r"\/").encode()
    answers = [ok(echo, 401), httpx2.Response(422, content=escaped), ok({"success": False, "message": TOKEN})]
    for answer in [*answers, httpx2.ConnectError("refused"), httpx2.ReadTimeout("")]:
        with pytest.raises(ApiError) as caught:
            through(Tenant([answer]), lambda c: c.actions.charge_point.reset("12"))
        error = caught.value
        shown = [str(error), repr(error), repr(vars(error)), *traceback.format_exception(error)]
        shown += [repr(error.__cause__), repr(vars(error.__cause__)) if error.__cause__ else ""]
        assert TOKEN not in "".join(shown)


def test_clients_do_not_show_the_token() -> None:
    with Client(URL, TOKEN) as client:
        assert TOKEN not in repr(client) + str(client) + repr(vars(client))
        assert URL in repr(client)


@pytest.mark.parametrize("token", ["", "two words", "line\n-break", "t\u00f6ken", "half\ud83d", "\x7f"])
def test_a_token_that_no_header_can_carry_is_refused_without_quoting_it(token: str) -> None:
    with pytest.raises(ValueError) as caught:
        AsyncClient(URL, token)
    assert not token or token not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "tenant.example",
        "ftp://tenant.example",
        "https://",
        "https://user:pw@tenant.example",
        "https://t/?a=b",
        "https://tenant:port",
        "http://[",
    ],
)
def test_a_tenant_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="tenant URL") as caught:
        Client(url, TOKEN)
    assert "pw" not in str(caught.value)


@pytest.mark.parametrize("url", [URL, URL + "/", URL + "/public-api", URL + "/public-api/"])
def test_the_tenant_url_is_taken_with_and_without_the_common_path(url: str) -> None:
    tenant = Tenant([ok()])
    with Client(url, TOKEN, transport=httpx2.MockTransport(tenant)) as client:
        client.actions.charge_point.reset("12")
    assert str(tenant.requests[0].url) == f"{URL}/public-api/actions/charge-point/v1.0/12/reset/soft"


@pytest.mark.parametrize("recorded", [None, {"data": {"id": 9, "via": "webhook", "notifications": []}}])
def test_what_is_no_read_goes_through_somebody_who_may_know_the_answer(recorded: Any) -> None:
    """One who has the answer does not send; the gate is asked for sends only."""
    gate, tenant = Journal(), Tenant([ok({"data": []})])
    asked: list[str] = []

    async def knows(request: WireRequest, send: Callable[[], Awaitable[Any]]) -> Any:
        asked.append(request.operation.name)
        return recorded

    async def main() -> None:
        async with AsyncClient(URL, TOKEN, transport=httpx2.MockTransport(tenant)) as client:
            view = client.gated(gate, through=knows)
            assert await view.notifications.list() == []
            found = await view.notifications.update("9", [], callback_url="https://x")
            assert found.id == "9"

    asyncio.run(main())
    assert asked == ["notifications.update"]
    assert [entry[:2] for entry in gate.seen] == [
        ("admit", "notifications.list"),
        ("called", "notifications.list"),
    ]


def test_going_through_somebody_covers_all_repetitions() -> None:
    tenant = Tenant([httpx2.ConnectError("refused"), ok(subscription(7))])
    answers: list[Any] = []

    def records(request: WireRequest, send: Callable[[], Any]) -> Any:
        answers.append(send())
        return answers[-1]

    with Client(URL, TOKEN, transport=httpx2.MockTransport(tenant)) as client:
        view = client.gated(None, through=records)
        assert view.notifications.read("7").id == "7"
        assert answers == []
        tenant.answers.append(ok(subscription(8)))
        assert view.notifications.subscribe(["a"], callback_url="https://x").id == "8"
    assert answers == [subscription(8)]
