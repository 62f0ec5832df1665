"""The clients over real sockets: connections are reused, and errors say what is certain after a fault."""

import asyncio
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ampeco.client import AsyncClient, Client, RetryPolicy
from ampeco.errors import ApiError, NoAnswer, NotSent
from tests.unit.ampeco.listener import Listener, closed_port, listening
from tests.unit.ampeco.scripted import TOKEN

UNLOCK = ("POST", "/public-api/actions/charge-point/v1.0/12/unlock/34")
AT_ONCE = RetryPolicy(base_s=0.0)
Connect = Callable[..., Any]


@pytest.fixture
def server() -> Iterator[Listener]:
    with listening() as listener:
        yield listener


@pytest.fixture(params=["async", "sync"])
def call(request: pytest.FixtureRequest) -> Connect:
    """Makes calls through either client, one after the other: `call(url, *calls)`."""

    def with_async(url: str, *calls: Callable[[Any], Any], **options: Any) -> list[Any]:
        async def main() -> list[Any]:
            async with AsyncClient(url, TOKEN, retry=AT_ONCE, **options) as client:
                return [await one(client) for one in calls]

        return asyncio.run(main())

    def with_sync(url: str, *calls: Callable[[Any], Any], **options: Any) -> list[Any]:
        with Client(url, TOKEN, retry=AT_ONCE, **options) as client:
            return [one(client) for one in calls]

    return with_async if request.param == "async" else with_sync


def test_one_connection_serves_many_calls_of_all_views(server: Listener, call: Connect) -> None:
    call(
        server.url,
        *[lambda c: c.notifications.list()] * 5,
        *[lambda c: c.gated(None).actions.charge_point.unlock("12", "34")] * 5,
    )
    assert len(server.received) == 10
    assert server.accepted == 1


def test_calls_at_the_same_moment_use_connections_of_their_own_and_keep_them(server: Listener) -> None:
    async def main() -> None:
        async with AsyncClient(server.url, TOKEN) as client:
            for _ in range(3):
                await asyncio.gather(*(client.notifications.list() for _ in range(4)))

    asyncio.run(main())
    assert len(server.received) == 12
    assert server.accepted <= 4


@pytest.mark.parametrize("fault", ["hang", "reset", "close"])
def test_an_action_that_left_and_got_no_answer_is_not_sent_again(
    server: Listener, call: Connect, fault: str
) -> None:
    server.faults = [fault]
    with pytest.raises(NoAnswer):
        call(server.url, lambda c: c.actions.charge_point.unlock("12", "34"), timeout_s=0.8)
    assert server.received == [UNLOCK]


@pytest.mark.parametrize("fault", ["hang", "reset", "close"])
def test_a_read_that_got_no_answer_is_sent_again(server: Listener, call: Connect, fault: str) -> None:
    server.faults = [fault, fault]
    assert call(server.url, lambda c: c.notifications.list(), timeout_s=0.8) == [[]]
    assert server.accepted == 3


def test_an_action_that_found_nobody_was_not_sent(call: Connect) -> None:
    with pytest.raises(NotSent):
        call(f"http://127.0.0.1:{closed_port()}", lambda c: c.actions.charge_point.unlock("12", "34"))


def test_a_broken_connection_is_replaced(server: Listener, call: Connect) -> None:
    def broken(client: Any) -> Any:
        server.faults = ["close"]
        return client.notifications.list()

    assert call(server.url, lambda c: c.notifications.list(), broken) == [[], []]
    assert len(server.received) == 3
    assert server.accepted == 2


@pytest.mark.parametrize("fault", ["hang", "reset", "refuse", "nobody"])
def test_a_traceback_with_its_variables_does_not_show_the_token(
    server: Listener, call: Connect, fault: str
) -> None:
    """A log with local variables also contains those of the HTTP library."""
    server.faults = [fault]
    url = f"http://127.0.0.1:{closed_port()}" if fault == "nobody" else server.url

    def unlock(client: Any) -> Any:
        return client.actions.charge_point.unlock("12", "34")

    try:
        call(url, unlock, timeout_s=0.8)
    except ApiError as error:
        shown = traceback.TracebackException.from_exception(error, capture_locals=True)
        assert TOKEN not in "".join(shown.format())
    else:
        pytest.fail("no fault")
