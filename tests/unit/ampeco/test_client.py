"""Both clients say the same to AMPECO, ask their gate first, and never show the token."""

import asyncio
import json
import traceback
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, ClassVar

import httpx2
import pytest

from ampeco.client import AsyncClient, Client
from ampeco.errors import ApiError, NoAnswer, NotFound, NotSent, ServerFault
from ampeco.operations import Operation
from ampeco.wire import WireRequest
from tests.unit.ampeco.scripted import TOKEN, URL, Caller, Journal, Tenant, ok, subscription


def test_the_resend_window_is_sent_in_utc_and_never_shrinks(through: Caller) -> None:
    tenant = Tenant([ok(status=202), ok(status=202)])
    start = datetime(2026, 11, 24, 3, 50, 0, 900_000, UTC)
    end = datetime(2026, 11, 24, 3, 59, 59, 100_000, UTC)
    through(
        tenant,
        lambda c: c.actions.notifications.resend_failed(
            "7", notifications=["a"], start_time=start, end_time=end
        ),
    )
    assert tenant.requests[0].url.path == "/public-api/actions/notifications/v1.0/7/resend"
    assert tenant.bodies == [
        {"notifications": ["a"], "startTime": "2026-11-24T03:50:00Z", "endTime": "2026-11-24T04:00:00Z"}
    ]
    through(tenant, lambda c: c.actions.notifications.resend_failed("7", notifications=["a"]))
    assert tenant.bodies[1] == {"notifications": ["a"]}


def test_a_resend_window_without_a_time_zone_is_refused(through: Caller) -> None:
    naive = datetime(2026, 11, 24, 3, 50)  # noqa: DTZ001
    with pytest.raises(ValueError, match="time zone"):
        through(
            Tenant([]),
            lambda c: c.actions.notifications.resend_failed("7", notifications=["a"], start_time=naive),
        )


def test_resets_and_unlocks(through: Caller) -> None:
    tenant = Tenant([ok({"success": True}), ok(status=204), ok({"success": True})])
    through(tenant, lambda c: c.actions.charge_point.reset("12", "soft"))
    through(tenant, lambda c: c.actions.charge_point.reset("12", "hard"))
    through(tenant, lambda c: c.actions.charge_point.unlock("12", "34"))
    assert [(request.method, request.url.path) for request in tenant.requests] == [
        ("POST", "/public-api/actions/charge-point/v1.0/12/reset/soft"),
        ("POST", "/public-api/actions/charge-point/v1.0/12/reset/hard"),
        ("POST", "/public-api/actions/charge-point/v1.0/12/unlock/34"),
    ]


def test_foreign_characters_stay_inside_their_path_segment(through: Caller) -> None:
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
def test_tells_not_sent_from_no_answer(through: Caller, fault: Exception, kind: type[ApiError]) -> None:
    tenant = Tenant([fault, fault])
    with pytest.raises(kind, match=type(fault).__name__) as caught:
        through(tenant, lambda c: c.actions.charge_point.unlock("12", "34"))
    assert caught.value.status is None


def test_a_redirect_is_not_followed(through: Caller) -> None:
    with pytest.raises(ServerFault, match="redirected"):
        through(Tenant([ok(status=302, location="https://evil.example/")]), lambda c: c.notifications.list())


def test_the_gate_is_asked_before_and_told_after_each_send(through: Caller) -> None:
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


def test_the_gate_is_told_the_reason_of_an_error(through: Caller) -> None:
    gate = Journal()
    with pytest.raises(NotFound):
        through(Tenant([ok(status=404)]), lambda c: c.actions.charge_point.reset("12", "soft"), gate)
    assert gate.seen[-1] == ("called", "charge-point.reset", "not-found", "404")


def test_what_the_gate_refuses_is_not_sent(through: Caller) -> None:
    """With a BaseException too: that is how a lost lease stops a handler."""
    gate, tenant = Journal(frozenset({"charge-point.reset"})), Tenant([])
    with pytest.raises(KeyboardInterrupt):
        through(tenant, lambda c: c.actions.charge_point.reset("12", "soft"), gate)
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
            task = asyncio.create_task(client.gated(gate).actions.charge_point.reset("12", "soft"))
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


def test_nothing_shows_the_token(through: Caller) -> None:
    """Not even when AMPECO, or something in between, echoes it."""
    echo = {"message": f"token {TOKEN} is unknown", "errors": {"token": [TOKEN]}}
    escaped = json.dumps(echo).replace("/", r"\/").encode()
    answers = [
        httpx2.Response(401, json=echo, headers={"X-Request-Id": TOKEN}),
        httpx2.Response(422, content=escaped),
        ok({"success": False, "message": TOKEN}),
        httpx2.ConnectError("refused"),
        httpx2.ReadTimeout(""),
    ]
    for answer in answers:
        with pytest.raises(ApiError) as caught:
            through(Tenant([answer, answer]), lambda c: c.actions.charge_point.unlock("12", "34"))
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
        "http://tenant..example",
        "http://" + "a" * 64 + ".example",
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
        client.actions.charge_point.reset("12", "soft")
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
    carried_out: list[Any] = []

    def records(request: WireRequest, send: Callable[[], Any]) -> Any:
        carried_out.append(send())
        return carried_out[-1]

    with Client(URL, TOKEN, transport=httpx2.MockTransport(tenant), sleep=lambda _: None) as client:
        view = client.gated(None, through=records)
        assert view.notifications.subscribe(["a"], callback_url="https://x").id == "7"
    assert len(tenant.requests) == 2
    assert carried_out == [subscription(7)]


def test_a_successful_answer_that_holds_the_tokens_text_is_left_as_it_is() -> None:
    def tenant(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, json={"data": {"id": "7", "city": "next"}})

    with Client("https://tenant.example", "x", transport=httpx2.MockTransport(tenant)) as client:
        assert client.resources.users.read(7, version="1.0").city == "next"


def test_what_follows_a_send_adds_its_headers_and_learns_the_end(through: Caller) -> None:
    class Trace:
        headers: ClassVar = {"traceparent": "00-ab-cd-01"}
        ends: ClassVar[list[tuple[str, int | None]]] = []

        def ended(self, outcome: str, status: int | None) -> None:
            self.ends.append((outcome, status))

    class Following(Journal):
        def admit(self, operation: Operation, path: str) -> Trace:
            super().admit(operation, path)
            return Trace()

    Trace.ends.clear()
    tenant = Tenant([httpx2.ConnectError("refused"), ok(status=202)])
    through(tenant, lambda c: c.actions.charge_point.unlock("12", "34"), Following())
    assert [request.headers["traceparent"] for request in tenant.requests] == ["00-ab-cd-01"] * 2
    assert Trace.ends == [("not-sent", None), ("ok", 202)]
