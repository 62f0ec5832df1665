"""The registrar: when it reconciles, what it remembers, and that no answer of a tenant stops it."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import pytest

from ampeco.errors import Invalid, RateLimited, Unauthorized
from handlers.internal import PAYLOADS
from receiver.metrics import Metrics
from receiver.registrar import RECONCILE_S, Access, Registrar
from tests.unit.receiver.test_registration import NEW, OLD, URL, A, B, One, Tenant


class Store:
    """What the log remembers, in memory."""

    def __init__(self) -> None:
        self.fields: dict[str, str] = {}
        self.held = False

    async def read(self) -> dict[str, str]:
        return dict(self.fields)

    async def remember(self, fields: Mapping[str, str]) -> None:
        self.fields = dict(fields)

    async def forget(self) -> None:
        self.fields = {}

    async def lock(self, token: str, ttl_ms: int) -> bool:
        free, self.held = not self.held, True
        return free

    async def unlock(self, token: str) -> None:
        self.held = False


class World:
    """A registrar and everything around it."""

    def __init__(self, **options: Any) -> None:
        self.tenant = Tenant()
        self.store = Store()
        self.wanted: frozenset[str] = frozenset({A})
        self.others: list[frozenset[str]] = []
        self.now_s = 0.0
        self.open = True
        self.metrics = Metrics()
        self.accepted = ["key-1"]
        self.registrar = self.restarted(**options)

    def restarted(self, key_id: str = "key-1", **options: Any) -> Registrar:
        return Registrar(
            Access(self.tenant, key_id),
            self.store,
            self._each_wants,
            URL,
            metrics=self.metrics,
            accepted_key_ids=lambda: self.accepted,
            is_open=lambda: self.open,
            clock=lambda: self.now_s,
            **options,
        )

    async def _each_wants(self) -> list[frozenset[str]]:
        return [self.wanted, *self.others]

    async def look_after(self, seconds: float) -> list[str]:
        """What is called at AMPECO when the registrar looks some time later."""
        self.now_s += seconds
        self.tenant.calls.clear()
        await self.registrar.check()
        return list(self.tenant.calls)


def run(scenario: Callable[[World], Coroutine[Any, Any, None]], **options: Any) -> None:
    asyncio.run(scenario(World(**options)))


def test_first_look_subscribes_and_remembers_what_and_with_which_key() -> None:
    async def scenario(world: World) -> None:
        assert not world.registrar.settled
        assert await world.look_after(0) == ["list", "subscribe"]
        assert (world.registrar.settled, world.registrar.state) == (True, "registered")
        (one,) = world.tenant.existing.values()
        assert world.store.fields == {"id": one.id, "callback_url": URL, "types": A, "key_id": "key-1"}
        assert world.metrics.registry.get_sample_value("awr_registered") == 1

    run(scenario)


def test_nothing_is_called_until_something_changes_or_minutes_pass() -> None:
    async def scenario(world: World) -> None:
        await world.look_after(0)
        assert await world.look_after(2) == []
        world.wanted = frozenset({A, B})
        assert await world.look_after(2) == ["list", "update"]
        assert await world.look_after(RECONCILE_S - 1) == []
        assert await world.look_after(2) == ["list"]

    run(scenario)


def test_our_own_types_and_an_empty_registry_call_nobody() -> None:
    async def scenario(world: World) -> None:
        world.wanted = frozenset(PAYLOADS)
        assert await world.look_after(0) == []
        assert (world.registrar.settled, world.registrar.state) == (True, "nothing-wanted")

    run(scenario)


def test_pinned_types_count_whatever_the_handlers_want() -> None:
    async def scenario(world: World) -> None:
        await world.look_after(0)
        assert [one.notifications for one in world.tenant.existing.values()] == [(B,)]

    run(scenario, pinned=[B])


def test_nothing_happens_while_the_log_is_not_known_to_be_ours() -> None:
    async def scenario(world: World) -> None:
        world.open = False
        assert await world.look_after(0) == []
        assert not world.registrar.settled

    run(scenario)


def test_another_replica_at_work_is_left_to_it() -> None:
    async def scenario(world: World) -> None:
        world.store.held = True
        assert await world.look_after(0) == []
        world.store.held = False
        assert await world.look_after(2) == ["list", "subscribe"]

    run(scenario)


def test_a_tenant_that_fails_is_asked_again_with_growing_pauses_and_the_lock_is_given_back() -> None:
    async def scenario(world: World) -> None:
        for pause_s in (2, 4, 8):
            world.tenant.fails = "list"
            assert await world.look_after(pause_s) == ["list"]
            assert world.registrar.state == "failed:server-fault"
            assert not world.store.held
            assert await world.look_after(1) == []
        assert not world.registrar.settled
        assert await world.look_after(60) == ["list", "subscribe"]

    run(scenario)


def test_a_subscribe_without_an_answer_is_not_repeated_blindly() -> None:
    async def scenario(world: World) -> None:
        subscribe = world.tenant.subscribe

        async def carried_out_but_unanswered(types: Any, *, callback_url: str) -> One:
            await subscribe(types, callback_url=callback_url)
            raise TimeoutError

        world.tenant.subscribe = carried_out_but_unanswered  # type: ignore[method-assign]
        await world.look_after(0)
        assert world.registrar.state == "failed:too-slow"
        assert await world.look_after(60) == ["list"]
        assert len(world.tenant.existing) == 1

    run(scenario)


def test_a_pause_that_ampeco_asks_for_is_kept() -> None:
    async def scenario(world: World) -> None:
        async def busy() -> list[One]:
            raise RateLimited("notifications.list", 429, "", retry_after_s=100)

        free, world.tenant.list = world.tenant.list, busy  # type: ignore[method-assign]
        await world.look_after(0)
        world.tenant.list = free  # type: ignore[method-assign]
        assert await world.look_after(99) == []
        assert await world.look_after(2) == ["list", "subscribe"]

    run(scenario)


def test_a_pause_longer_than_the_usual_one_between_two_checks_is_not_kept() -> None:
    async def scenario(world: World) -> None:
        async def busy() -> list[One]:
            raise RateLimited("notifications.list", 429, "", retry_after_s=86_400)

        free, world.tenant.list = world.tenant.list, busy  # type: ignore[method-assign]
        await world.look_after(0)
        world.tenant.list = free  # type: ignore[method-assign]
        assert await world.look_after(RECONCILE_S) == ["list", "subscribe"]

    run(scenario)


def test_a_type_the_tenant_does_not_know_keeps_no_other_from_being_delivered() -> None:
    async def scenario(world: World) -> None:
        unknown, subscribe = "issue.changed", world.tenant.subscribe

        async def strict(types: Any, *, callback_url: str) -> One:
            if unknown in types:
                errors = {f"notifications.{list(types).index(unknown)}": ["is not known"]}
                raise Invalid("notifications.subscribe", 422, "", errors=errors)
            return await subscribe(types, callback_url=callback_url)

        world.tenant.subscribe = strict  # type: ignore[method-assign]
        world.wanted = frozenset({A, B, unknown})
        await world.look_after(0)
        assert world.registrar.state == "failed:invalid"
        assert await world.look_after(3) == ["list", "subscribe"]
        assert (world.registrar.settled, world.registrar.state) == (True, "registered")
        assert [one.notifications for one in world.tenant.existing.values()] == [(A, B)]
        assert await world.look_after(2) == []

    run(scenario)


def subscribed(world: World) -> list[tuple[str, ...]]:
    return [one.notifications for one in world.tenant.existing.values()]


def test_of_two_spellings_of_one_fact_the_newer_is_subscribed() -> None:
    async def scenario(world: World) -> None:
        world.wanted = frozenset({A, OLD, NEW})
        await world.look_after(0)
        assert subscribed(world) == [(A, NEW)]

    run(scenario)


def test_a_subscription_from_before_gives_up_its_second_spelling() -> None:
    async def scenario(world: World) -> None:
        world.tenant.existing["n1"] = One("n1", (A, B, OLD, NEW))
        world.wanted = frozenset({A, OLD, NEW})
        assert await world.look_after(0) == ["list", "update"]
        assert subscribed(world) == [(A, B, NEW)]
        assert await world.look_after(RECONCILE_S) == ["list"]

    run(scenario)


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("wanted", [{OLD, NEW}, {A, OLD, NEW}])
def test_where_subscribe_refuses_the_newer_spelling_the_older_is_subscribed(
    wanted: set[str], named: bool
) -> None:
    async def scenario(world: World) -> None:
        subscribe = world.tenant.subscribe

        async def old_tenant(types: Any, *, callback_url: str) -> One:
            if NEW in types:
                field = f"notifications.{list(types).index(NEW)}" if named else "notifications"
                raise Invalid("notifications.subscribe", 422, "", errors={field: ["is not known"]})
            return await subscribe(types, callback_url=callback_url)

        world.tenant.subscribe = old_tenant  # type: ignore[method-assign]
        world.wanted = frozenset(wanted)
        await world.look_after(0)
        assert world.registrar.state == "failed:invalid"
        assert await world.look_after(3) == ["list", "subscribe"]
        assert world.registrar.state == "registered"
        assert subscribed(world) == [tuple(sorted(wanted - {NEW}))]

    run(scenario)


def test_pinned_spellings_are_subscribed_as_they_are_and_replace_the_other_one() -> None:
    async def scenario(world: World) -> None:
        world.tenant.existing["n1"] = One("n1", (NEW,))
        world.wanted = frozenset({OLD, NEW})
        await world.look_after(0)
        assert subscribed(world) == [(OLD,)]
        world.registrar = world.restarted(pinned=[OLD, NEW])
        await world.look_after(0)
        assert subscribed(world) == [(OLD, NEW)]

    run(scenario, pinned=[OLD])


def test_an_answer_nobody_expected_does_not_stop_it() -> None:
    async def scenario(world: World) -> None:
        async def odd() -> list[One]:
            raise KeyError("id")

        usual, world.tenant.list = world.tenant.list, odd  # type: ignore[method-assign]
        await world.look_after(0)
        assert world.registrar.state == "failed:unexpected"
        world.tenant.list = usual  # type: ignore[method-assign]
        assert await world.look_after(60) == ["list", "subscribe"]

    run(scenario)


def test_what_was_registered_before_still_counts_while_ampeco_is_away() -> None:
    async def scenario(world: World) -> None:
        await world.look_after(0)
        world.registrar = world.restarted()

        async def refuse() -> list[One]:
            raise Unauthorized("notifications.list", 401, "")

        world.tenant.list = refuse  # type: ignore[method-assign]
        await world.look_after(1)
        assert (world.registrar.settled, world.registrar.state) == (True, "failed:unauthorized")

    run(scenario)


def test_the_key_of_a_kept_subscription_is_not_taken_for_the_present_one() -> None:
    async def scenario(world: World) -> None:
        await world.look_after(0)
        world.registrar = world.restarted(key_id="key-2")
        await world.look_after(1)
        assert world.store.fields["key_id"] == "key-1"

    run(scenario)


def test_an_ephemeral_subscription_goes_with_us_and_another_stays() -> None:
    async def scenario(world: World) -> None:
        for mode, left in (("auto", 1), ("ephemeral", 0)):
            world.registrar = world.restarted(mode=mode)
            await world.look_after(1)
            await world.registrar.close()
            assert len(world.tenant.existing) == left
        assert world.store.fields == {}

    run(scenario)
