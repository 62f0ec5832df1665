"""The pretend tenant: seeded objects, canned answers and errors, and requests as the contract wants them."""

from __future__ import annotations

import asyncio

import pytest

from ampeco.errors import (
    ActionRefused,
    ApiError,
    Invalid,
    NoAnswer,
    NotFound,
    NotSent,
    RateLimited,
    RequestRefused,
    ServerFault,
    Unreachable,
)
from handlers import Context, SyncContext
from handlers.testing import FakeAmpeco, UndeclaredCall


def test_what_was_seeded_exists_and_nothing_else(fake_ampeco):
    fake_ampeco.seed("users", 7, email="ada@tenant.example", balance=12.5)
    fake_ampeco.seed("charge-points", 12, hardware_status="faulted")
    client = fake_ampeco.sync_client()
    assert client.resources.users.read(7).email == "ada@tenant.example"
    assert client.resources.users.read(7).balance == 12.5
    assert client.resources.charge_points.read(12).hardware_status == "faulted"
    assert [user.id for user in client.resources.users.list()] == ["7"]
    with pytest.raises(NotFound):
        client.resources.users.read(8)


def test_every_object_may_exist():
    client = FakeAmpeco(unknown="example").sync_client()
    assert client.resources.sessions.read(4711).id == "4711"


def test_actions_and_writes_have_their_effect(fake_ampeco):
    fake_ampeco.seed("users", 7, balance=1)
    client = fake_ampeco.sync_client()
    client.actions.user.add_balance(7, amount=2.0, reason="refund")
    client.resources.users.update(7, {"city": "Sofia"})
    assert (fake_ampeco.read("users", 7)["balance"], client.resources.users.read(7).city) == (3.0, "Sofia")
    assert [call.operation for call in fake_ampeco.calls] == [
        "user.add-balance",
        "resources.users.update",
        "resources.users.read",
    ]
    assert fake_ampeco.calls[0].body["amount"] == 2.0


def test_a_body_that_the_contract_does_not_allow_is_refused(fake_ampeco):
    with pytest.raises(Invalid):
        fake_ampeco.sync_client().call(
            "POST", "/public-api/actions/users/v1.0/7/add-balance", body={"amount": "much"}
        )


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (503, ServerFault),
        (418, RequestRefused),
        (NotFound, NotFound),
        (NotSent, NotSent),
        (NoAnswer, NoAnswer),
        (RateLimited, RateLimited),
    ],
)
def test_errors_are_raised_as_the_client_raises_them(fake_ampeco, error, raised):
    fake_ampeco.fail("charge-point.start", error)
    with pytest.raises(raised):
        fake_ampeco.sync_client().actions.charge_point.start(12, 121, user_id=7)


def test_a_pause_of_the_client_moves_the_clock_and_takes_no_time(fake_ampeco):
    fake_ampeco.seed("users", 7)
    fake_ampeco.fail("resources.users.read", RateLimited, retry_after_s=3, times=1)
    began = fake_ampeco.clock.now_s()

    async def read():
        async with fake_ampeco.client() as client:
            return await client.resources.users.read(7)

    assert asyncio.run(read()).id == "7"
    assert fake_ampeco.clock.now_s() - began >= 3


def test_canned_answers_go_first_and_by_number(fake_ampeco):
    client = fake_ampeco.sync_client()
    fake_ampeco.answer("charge-point.start", {"success": True, "sessionId": 99})
    fake_ampeco.refuse("charge-point.start", "CHARGING_NOT_ALLOWED", times=1)
    with pytest.raises(ActionRefused, match="CHARGING_NOT_ALLOWED"):
        client.actions.charge_point.start(12, 121, user_id=7)
    assert client.actions.charge_point.start(12, 121, user_id=7).session_id == "99"


def test_a_newer_operation_is_answered_by_its_path(fake_ampeco):
    path = "/public-api/actions/session/v9.0/7/wash"
    fake_ampeco.answer(f"POST {path}", {"washed": True})
    assert fake_ampeco.sync_client().call("POST", path) == {"washed": True}


@pytest.mark.parametrize("error", [Unreachable, NoAnswer, NotSent])
def test_no_answer_is_an_error_of_the_class_that_was_asked_for(fake_ampeco, error):
    fake_ampeco.fail("charge-point.reset", error)
    with pytest.raises(error):
        fake_ampeco.sync_client().actions.charge_point.reset(12, "soft")
    assert {call.status for call in fake_ampeco.calls} == {None}


def test_a_misspelled_operation_or_error_is_told(fake_ampeco):
    with pytest.raises(LookupError, match=r"did you mean 'charge-point\.reset'"):
        fake_ampeco.fail("charge-point.rest", 500)
    with pytest.raises(TypeError, match="ApiError"):
        fake_ampeco.fail("charge-point.reset", ApiError)


def test_no_proxy_of_the_environment_is_used(fake_ampeco, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    fake_ampeco.seed("users", 7)
    assert fake_ampeco.sync_client().resources.users.read(7).id == "7"


def test_a_context_can_be_made_by_hand(fake_ampeco):
    fake_ampeco.seed("users", 7)
    context = Context(ampeco=fake_ampeco.client, settings=None, state="mine")
    assert (context.state, context.attempt) == ("mine", 1)

    async def use():
        assert (await context.ampeco.resources.users.read(7)).id == "7"
        assert await context.once("step", lambda: 5) == 5
        context.log.debug("seen")

    asyncio.run(use())
    threaded = SyncContext(ampeco=fake_ampeco.sync_client, settings=None, state=None)
    assert threaded.ampeco.resources.users.read(7).id == "7"


def test_a_fake_that_knows_the_declared_actions_fails_on_others():
    client = FakeAmpeco(calls=["charge-point.reset"]).sync_client()
    client.actions.charge_point.reset(12, "soft")
    with pytest.raises(UndeclaredCall, match=r"user\.add-balance"):
        client.actions.user.add_balance(7, amount=2.0, reason="refund")
    with pytest.raises(UndeclaredCall, match="wash"):
        client.call("POST", "/public-api/actions/session/v9.0/7/wash")
