"""The registrar: when it checks, what it remembers and warns of, and that no answer of a tenant stops it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import pytest
from structlog.testing import capture_logs

from ampeco.errors import (
    ApiError,
    Conflict,
    Forbidden,
    Invalid,
    NoAnswer,
    NotFound,
    NotSent,
    RateLimited,
    ServerFault,
    Unauthorized,
)
from eventlog.inspection.events import list_events
from eventlog.inspection.gaps import recorded_gaps
from eventlog.internal import REGISTRATION_CHANGED, REGISTRATION_FAILED
from eventlog.log import EventLog
from eventlog.registry import Declaration
from eventlog.replicas import Replica, publish
from eventlog.rotation import Rotation, write_rotation
from eventlog.subscription import SubscriptionStore
from handlers.internal import PAYLOADS
from receiver.metrics import Metrics
from receiver.reconciler import Reconciler
from receiver.registrar import CHECK_S, Registrar
from receiver.registration_check import Access
from tests.harness import opened
from tests.unit.receiver.test_registration import NEW, OLD, URL, A, B, C, One, Tenant

FORMER = "https://former.example/webhooks/ampeco"


class World:
    """A registrar and everything around it; the log is real, and its times can be moved into the past."""

    def __init__(self, log: EventLog, **options: Any) -> None:
        self.log = log
        self.tenant = Tenant()
        self.store = SubscriptionStore(log)
        self.wanted: frozenset[str] = frozenset({A})
        self.others: list[frozenset[str]] = []
        self.now_s = 1_000.0
        self.open = True
        self.metrics = Metrics()
        self.accepted = ["key-1"]
        self.woken: list[Sequence[str]] = []
        self.released_reads = 0
        self.registrar = self.restarted(**options)

    def restarted(
        self, key_id: str = "key-1", *, pinned: Sequence[str] | None = None, url: str = URL, **options: Any
    ) -> Registrar:
        reconciler = Reconciler(
            Access(self.tenant, key_id),
            self.store,
            url,
            wants=self._each_wants,
            accepted_key_ids=lambda: self.accepted,
            pinned=pinned,
            released_types=self._released,
        )
        return Registrar(
            reconciler,
            self.store,
            metrics=self.metrics,
            accepted_key_ids=lambda: self.accepted,
            is_open=lambda: self.open,
            wake=self.woken.append,
            clock=lambda: self.now_s,
            **options,
        )

    async def _each_wants(self) -> dict[str, frozenset[str]]:
        return {f"h{number}": types for number, types in enumerate([self.wanted, *self.others])}

    async def _released(self) -> frozenset[str]:
        self.released_reads += 1
        return frozenset()

    async def look_after(self, seconds: float) -> list[str]:
        """What is called at AMPECO when the registrar looks some time later."""
        self.now_s += seconds
        await self.age(seconds)
        self.tenant.calls.clear()
        await self.registrar.check()
        return list(self.tenant.calls)

    async def age(self, seconds: float) -> None:
        """Move what the log noted of checks into the past."""
        key = self.log.key("registration")
        for name in ("looked_ms", "confirmed_ms", "retry_ms"):
            if await self.log.redis.hexists(key, name):
                await self.log.redis.hincrby(key, name, -int(seconds * 1000))

    async def lives(self, name: str, *key_ids: str, url: str = URL) -> None:
        """Another receiver of this log says what it accepts."""
        await publish(
            self.log, Replica(name, frozenset(key_ids), key_ids[0], url), types={}, subscriptions=[]
        )

    async def heard(self, *key_ids: str, subscription: str = "", at_ms: int | None = None) -> None:
        """Events came, verified by these keys."""
        at_ms = at_ms or (await self.store.registration()).now_ms
        named = [(subscription, key_id, at_ms) for key_id in key_ids] if subscription else []
        types = {(key_id, A): at_ms for key_id in key_ids}
        await publish(self.log, Replica("r", frozenset(self.accepted)), types=types, subscriptions=named)

    def metric(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(name, labels)


Scenario = Callable[[World], Coroutine[Any, Any, None]]
Run = Callable[..., None]


@pytest.fixture
def run(valkey, prefix) -> Run:
    """Run a scenario with a registrar that has these options."""

    def start(scenario: Scenario, **options: Any) -> None:
        async def opened_and_run() -> None:
            async with opened(valkey.url, prefix) as log:
                await scenario(World(log, **options))

        asyncio.run(opened_and_run())

    return start


def test_first_look_subscribes_and_remembers_what_and_with_which_key(run: Run) -> None:
    async def scenario(world: World) -> None:
        assert not world.registrar.settled
        assert await world.look_after(0) == ["list", "subscribe"]
        assert (world.registrar.settled, world.registrar.state) == (True, "registered")
        (one,) = world.tenant.existing.values()
        stored = {"id": one.id, "callback_url": URL, "types": A, "key_id": "key-1"}
        assert await world.store.read() == stored
        found = await world.store.registration()
        assert (found.state, found.covers, found.made) == ("registered", {A}, {one.id: "key-1"})
        assert world.metric("awr_registered") == 1
        assert (
            world.metric("awr_registration_confirmed_timestamp_seconds") == (found.confirmed_ms or 0) / 1000
        )

    run(scenario)


def test_nothing_is_called_until_something_changes_or_minutes_pass(run: Run) -> None:
    async def scenario(world: World) -> None:
        await world.look_after(0)
        assert await world.look_after(2) == []
        world.wanted = frozenset({A, B})
        assert await world.look_after(2) == ["list", "update"]
        assert await world.look_after(CHECK_S - 1) == []
        assert await world.look_after(2) == ["list"]

    run(scenario)


def test_our_own_types_and_an_empty_registry_call_nobody(run: Run) -> None:
    async def scenario(world: World) -> None:
        world.wanted = frozenset(PAYLOADS)
        assert await world.look_after(0) == []
        assert (world.registrar.settled, world.registrar.state) == (True, "nothing-wanted")
        assert (world.metric("awr_registration_wanted"), world.metric("awr_registered")) == (0, 0)
        world.wanted = frozenset({A})
        assert await world.look_after(2) == ["list", "subscribe"]
        assert (world.metric("awr_registration_wanted"), world.metric("awr_registered")) == (1, 1)

    run(scenario)


def test_between_two_checks_only_the_wanted_types_are_read(run: Run) -> None:
    async def scenario(world: World) -> None:
        await world.look_after(0)
        before = world.released_reads
        for _ in range(5):
            await world.look_after(2)
        assert world.released_reads == before
        await world.look_after(CHECK_S)
        assert world.released_reads == before + 1

    run(scenario)


def test_pinned_types_count_whatever_the_handlers_want(run: Run) -> None:
    async def scenario(world: World) -> None:
        await world.look_after(0)
        assert [one.notifications for one in world.tenant.existing.values()] == [(B,)]

    run(scenario, pinned=[B])


def test_nothing_happens_while_the_log_is_not_known_to_be_ours(run: Run) -> None:
    async def scenario(world: World) -> None:
        world.open = False
        assert await world.look_after(0) == []
        assert not world.registrar.settled

    run(scenario)


def test_another_replica_at_work_is_left_to_it(run: Run) -> None:
    async def scenario(world: World) -> None:
        assert await world.store.lock("another", 60_000)
        assert await world.look_after(0) == []
        await world.store.unlock("another")
        assert await world.look_after(2) == ["list", "subscribe"]

    run(scenario)


def test_a_tenant_that_fails_is_asked_again_with_growing_pauses_and_the_lock_is_given_back(run: Run) -> None:
    async def scenario(world: World) -> None:
        for pause_s in (2, 4, 8):
            world.tenant.fails = "list"
            assert await world.look_after(pause_s) == ["list"]
            assert world.registrar.state == "failed:server-fault"
            assert await world.store.lock("free", 60_000)
            await world.store.unlock("free")
            assert await world.look_after(1) == []
        assert not world.registrar.settled
        assert await world.look_after(60) == ["list", "subscribe"]

    run(scenario)


def test_a_subscribe_without_an_answer_is_not_repeated_blindly(run: Run) -> None:
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


def test_a_pause_that_ampeco_asks_for_is_kept(run: Run) -> None:
    async def scenario(world: World) -> None:
        async def busy() -> list[One]:
            raise RateLimited("notifications.list", 429, "", retry_after_s=100)

        free, world.tenant.list = world.tenant.list, busy  # type: ignore[method-assign]
        await world.look_after(0)
        world.tenant.list = free  # type: ignore[method-assign]
        assert await world.look_after(99) == []
        assert await world.look_after(2) == ["list", "subscribe"]

    run(scenario)


def test_a_pause_longer_than_the_usual_one_between_two_checks_is_not_kept(run: Run) -> None:
    async def scenario(world: World) -> None:
        async def busy() -> list[One]:
            raise RateLimited("notifications.list", 429, "", retry_after_s=86_400)

        free, world.tenant.list = world.tenant.list, busy  # type: ignore[method-assign]
        await world.look_after(0)
        world.tenant.list = free  # type: ignore[method-assign]
        assert await world.look_after(300) == ["list", "subscribe"]

    run(scenario)


def test_a_type_the_tenant_does_not_know_keeps_no_other_from_being_delivered(run: Run) -> None:
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


def test_of_two_spellings_of_one_fact_the_newer_is_subscribed(run: Run) -> None:
    async def scenario(world: World) -> None:
        world.wanted = frozenset({A, OLD, NEW})
        await world.look_after(0)
        assert subscribed(world) == [(A, NEW)]

    run(scenario)


def test_a_subscription_from_before_gives_up_its_second_spelling(run: Run) -> None:
    async def scenario(world: World) -> None:
        world.tenant.existing["n1"] = One("n1", (A, B, OLD, NEW))
        world.wanted = frozenset({A, OLD, NEW})
        assert await world.look_after(0) == ["list", "update"]
        assert subscribed(world) == [(A, B, NEW)]
        assert await world.look_after(CHECK_S) == ["list"]

    run(scenario)


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("wanted", [{OLD, NEW}, {A, OLD, NEW}])
def test_where_subscribe_refuses_the_newer_spelling_the_older_is_subscribed(
    run: Run, wanted: set[str], named: bool
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


def test_pinned_spellings_are_subscribed_as_they_are_and_replace_the_other_one(run: Run) -> None:
    async def scenario(world: World) -> None:
        world.tenant.existing["n1"] = One("n1", (NEW,))
        world.wanted = frozenset({OLD, NEW})
        await world.look_after(0)
        assert subscribed(world) == [(OLD,)]
        world.registrar = world.restarted(pinned=[OLD, NEW])
        await world.look_after(0)
        assert subscribed(world) == [(OLD, NEW)]

    run(scenario, pinned=[OLD])


def test_an_answer_nobody_expected_does_not_stop_it(run: Run) -> None:
    async def scenario(world: World) -> None:
        async def odd() -> list[One]:
            raise KeyError("id")

        usual, world.tenant.list = world.tenant.list, odd  # type: ignore[method-assign]
        await world.look_after(0)
        assert world.registrar.state == "failed:unexpected"
        world.tenant.list = usual  # type: ignore[method-assign]
        assert await world.look_after(60) == ["list", "subscribe"]

    run(scenario)


def test_what_was_registered_before_still_counts_while_ampeco_is_away(run: Run) -> None:
    async def scenario(world: World) -> None:
        await world.look_after(0)
        world.registrar = world.restarted()

        async def refuse() -> list[One]:
            raise Unauthorized("notifications.list", 401, "")

        world.tenant.list = refuse  # type: ignore[method-assign]
        await world.look_after(10)
        assert (world.registrar.settled, world.registrar.state) == (True, "failed:unauthorized")

    run(scenario)


def test_the_key_of_a_kept_subscription_is_not_taken_for_the_present_one(run: Run) -> None:
    async def scenario(world: World) -> None:
        await world.look_after(0)
        world.registrar = world.restarted(key_id="key-2")
        await world.look_after(1)
        assert (await world.store.read())["key_id"] == "key-1"

    run(scenario)


def test_an_ephemeral_subscription_goes_with_us_and_another_stays(run: Run) -> None:
    async def scenario(world: World) -> None:
        for mode, left in (("auto", 1), ("ephemeral", 0)):
            world.registrar = world.restarted(mode=mode)
            await world.look_after(1)
            await world.registrar.close()
            assert len(world.tenant.existing) == left
        assert await world.store.read() == {}

    run(scenario)


async def gaps(world: World) -> list[tuple[str, tuple[str, ...]]]:
    return [(gap.reason, gap.types) for gap in await recorded_gaps(world.log)]


def warnings(lines: Sequence[Any]) -> list[str]:
    return [line["event"].partition(".")[2] for line in lines if line["log_level"] == "warning"]


@pytest.mark.parametrize("left", [(), (A,)])
def test_a_subscription_deleted_or_edited_at_ampeco_is_restored_and_the_time_is_a_gap(
    run: Run, left: tuple[str, ...]
) -> None:
    async def scenario(world: World) -> None:
        world.wanted = frozenset({A, B})
        await world.look_after(0)
        confirmed_ms = (await world.store.registration()).confirmed_ms or 0
        (one,) = world.tenant.existing.values()
        world.tenant.existing = {one.id: One(one.id, left)} if left else {}
        with capture_logs() as lines:
            assert await world.look_after(CHECK_S) == ["list", "update" if left else "subscribe"]
        assert warnings(lines) == ["lost", "closed"]
        assert subscribed(world) == [(A, B)]
        lost = tuple(sorted({A, B} - {*left}))
        assert await gaps(world) == [("not-subscribed", lost)]
        (gap,) = await recorded_gaps(world.log)
        assert gap.from_ms == confirmed_ms - CHECK_S * 1000
        assert world.metric("awr_registration_lost_total") == world.metric("awr_gaps_closed_total") == 1
        assert world.metric("awr_registered") == 1
        assert await world.look_after(CHECK_S) == ["list"]
        assert len(await gaps(world)) == 1

    run(scenario)


def test_a_subscription_with_another_url_typed_in_is_restored(run: Run) -> None:
    async def scenario(world: World) -> None:
        await world.look_after(0)
        (one,) = world.tenant.existing.values()
        world.tenant.existing[one.id] = One(one.id, (A,), "https://elsewhere.example/hook")
        assert await world.look_after(CHECK_S) == ["list", "update"]
        assert world.tenant.existing[one.id].callback_url == URL
        assert await gaps(world) == [("not-subscribed", (A,))]

    run(scenario)


def test_a_loss_that_cannot_be_restored_at_once_is_one_gap_from_the_last_confirmation(run: Run) -> None:
    async def scenario(world: World) -> None:
        await world.look_after(0)
        confirmed_ms = (await world.store.registration()).confirmed_ms or 0
        world.tenant.existing.clear()
        world.tenant.fails = "subscribe"
        await world.look_after(CHECK_S)
        assert world.metric("awr_registered") == 0
        world.registrar = world.restarted()
        await world.look_after(CHECK_S)
        assert world.metric("awr_registered") == 1
        (gap,) = await recorded_gaps(world.log)
        assert gap.from_ms == confirmed_ms - 2 * 1000 * CHECK_S, "both checks moved it into the past"
        assert (gap.reason, gap.types) == ("not-subscribed", (A,))

    run(scenario)


def test_a_wanted_type_that_cannot_be_added_for_a_time_is_a_gap_of_that_type(run: Run) -> None:
    async def scenario(world: World) -> None:
        await world.look_after(0)
        world.wanted = frozenset({A, B})
        world.tenant.fails = "update"
        await world.look_after(2)
        assert await world.look_after(10) == ["list", "update"]
        assert await gaps(world) == [("not-subscribed", (B,))]

    run(scenario)


def test_while_ampeco_is_away_the_metric_says_what_it_confirmed_last(run: Run) -> None:
    async def scenario(world: World) -> None:
        await world.look_after(0)
        world.tenant.fails = "list"
        await world.look_after(CHECK_S)
        assert world.registrar.state == "failed:server-fault"
        assert world.metric("awr_registered") == 1
        assert world.metric("awr_registration_wanted") == 1
        confirmed_ms = (await world.store.registration()).confirmed_ms or 0
        assert world.metric("awr_registration_confirmed_timestamp_seconds") == confirmed_ms / 1000
        assert world.metric("awr_registration_failed_checks_total", reason="server-fault") == 1

    run(scenario)


def test_one_replica_checks_for_all(run: Run) -> None:
    async def scenario(world: World) -> None:
        first = world.registrar
        assert await world.look_after(0) == ["list", "subscribe"]
        second = world.registrar = world.restarted()
        assert await world.look_after(2) == ["list"]
        assert (second.state, second.settled) == ("registered", True)
        for _ in range(3):
            assert await world.look_after(CHECK_S) == ["list"]
            world.registrar = first
            assert await world.look_after(1) == []
            world.registrar = second

    run(scenario)


def test_a_refusal_is_shared_and_a_replica_with_another_token_tries_its_own(run: Run) -> None:
    async def scenario(world: World) -> None:
        async def refuse() -> list[One]:
            world.tenant.calls.append("list")
            raise Unauthorized("notifications.list", 401, "")

        free, world.tenant.list = world.tenant.list, refuse  # type: ignore[method-assign]
        assert await world.look_after(0) == ["list"]
        world.registrar = world.restarted()
        assert await world.look_after(30) == []
        assert world.registrar.state == "failed:unauthorized"
        world.tenant.list = free  # type: ignore[method-assign]
        world.registrar = world.restarted("key-2")
        assert await world.look_after(1) == ["list", "subscribe"]

    run(scenario)


ERRORS: list[tuple[str, ApiError]] = [
    ("unauthorized", Unauthorized("n", 401, "")),
    ("forbidden", Forbidden("n", 403, "")),
    ("not-found", NotFound("n", 404, "")),
    ("conflict", Conflict("n", 409, "")),
    ("invalid", Invalid("n", 422, "", errors={})),
    ("rate-limited", RateLimited("n", 429, "", retry_after_s=30)),
    ("server-fault", ServerFault("n", 502, "")),
    ("answer-unreadable", ServerFault("n", 200, "the answer is not JSON", "<html>")),
    ("not-sent", NotSent("n", None, "")),
    ("no-answer", NoAnswer("n", None, "")),
]


@pytest.mark.parametrize(("reason", "error"), ERRORS, ids=[reason for reason, _ in ERRORS])
def test_each_refusal_has_one_state_and_ampeco_is_not_hammered(
    run: Run, reason: str, error: ApiError
) -> None:
    async def scenario(world: World) -> None:
        calls = 0

        async def refuse() -> list[One]:
            nonlocal calls
            calls += 1
            raise error

        world.tenant.list = refuse  # type: ignore[method-assign]
        with capture_logs() as lines:
            for _ in range(60):
                await world.look_after(2)
        assert world.registrar.state == f"failed:{reason}"
        assert (await world.store.registration()).state == f"failed:{reason}"
        assert {line["reason"] for line in lines if line["event"].endswith(".failed")} == {reason}
        assert world.metric("awr_registration_failed_checks_total", reason=reason) == calls
        assert calls <= 7

    run(scenario)


def test_a_second_one_for_our_url_is_left_and_warned_of_once_and_copies_are_paired(run: Run) -> None:
    async def scenario(world: World) -> None:
        await world.look_after(0)
        world.tenant.existing["hand"] = One("hand", (A,))
        with capture_logs() as lines:
            for _ in range(3):
                assert await world.look_after(CHECK_S) == ["list"]
        assert warnings(lines) == ["second"]
        assert await world.store.two_since() is not None
        del world.tenant.existing["hand"]
        await world.look_after(CHECK_S)
        assert await world.store.two_since() is None
        assert await gaps(world) == []

    run(scenario)


def test_rotating_by_hand_loses_nothing_when_the_new_one_comes_first(run: Run) -> None:
    async def scenario(world: World) -> None:
        await world.look_after(0)
        (old,) = world.tenant.existing.values()
        world.tenant.existing["hand"] = One("hand", (A,))
        assert await world.look_after(CHECK_S) == ["list"]
        del world.tenant.existing[old.id]
        assert await world.look_after(CHECK_S) == ["list"]
        assert [*world.tenant.existing] == ["hand"]
        assert (await world.store.read())["id"] == "hand"
        assert await gaps(world) == []

    run(scenario)


def test_rotating_by_hand_with_the_old_one_removed_first_is_a_gap_and_nothing_is_removed(run: Run) -> None:
    async def scenario(world: World) -> None:
        await world.look_after(0)
        world.tenant.existing.clear()
        await world.look_after(CHECK_S)
        (restored,) = world.tenant.existing.values()
        world.tenant.existing["hand"] = One("hand", (A,))
        await world.look_after(CHECK_S)
        assert [*world.tenant.existing] == [restored.id, "hand"]
        assert await gaps(world) == [("not-subscribed", (A,))]

    run(scenario)


@pytest.mark.parametrize("tied_by", ["record", "header"])
def test_one_whose_key_no_receiver_accepts_is_removed_but_not_while_two_keys_verify_events(
    run: Run, tied_by: str
) -> None:
    async def scenario(world: World) -> None:
        await world.look_after(0)
        (old,) = world.tenant.existing.values()
        if tied_by == "header":
            await world.log.redis.hdel(world.log.key("registration"), "made")
            await world.store.remember({"id": "none", "callback_url": URL, "types": A, "key_id": ""})
            await world.heard("key-1", subscription=old.id)
        world.tenant.existing["hand"] = One("hand", (A,))
        world.accepted = ["key-2"]
        world.registrar = world.restarted("key-2")
        await world.heard("key-1", "key-2")
        with capture_logs() as lines:
            await world.look_after(CHECK_S)
        assert [*world.tenant.existing] == [old.id, "hand"]
        assert "ten minutes" in next(line["why"] for line in lines if line["event"].endswith(".second"))
        await world.log.redis.delete(world.log.key("heard"))
        if tied_by == "header":
            await world.heard("key-1", subscription=old.id, at_ms=1)
        assert await world.look_after(CHECK_S) == ["list", "unsubscribe"]
        assert [*world.tenant.existing] == ["hand"]
        assert await gaps(world) == []

    run(scenario)


def test_one_whose_key_another_live_receiver_accepts_stays(run: Run) -> None:
    async def scenario(world: World) -> None:
        await world.look_after(0)
        world.tenant.existing["hand"] = One("hand", (A,))
        await world.lives("other", "key-1")
        world.accepted = ["key-2"]
        world.registrar = world.restarted("key-2")
        assert await world.look_after(CHECK_S) == ["list"]
        assert len(world.tenant.existing) == 2

    run(scenario)


def test_a_token_that_was_replaced_without_a_rotation_subscribes_again(run: Run) -> None:
    async def scenario(world: World) -> None:
        await world.look_after(0)
        (old,) = world.tenant.existing.values()
        world.accepted = ["key-2"]
        world.registrar = world.restarted("key-2")
        assert await world.look_after(CHECK_S) == ["list", "subscribe", "unsubscribe"]
        assert [one.id for one in world.tenant.existing.values()] != [old.id]
        assert (await world.store.read())["key_id"] == "key-2"

    run(scenario)


def test_while_a_rotation_is_open_nothing_is_removed_and_copies_stay_paired(run: Run) -> None:
    async def scenario(world: World) -> None:
        await world.look_after(0)
        (old,) = world.tenant.existing.values()
        await write_rotation(world.log, Rotation("subscribing", "key-1", "key-2", 1, (old.id,)))
        await world.store.set_two(5)
        world.accepted = ["key-2"]
        world.registrar = world.restarted("key-2")
        world.tenant.existing["hand"] = One("hand", (A,))
        with capture_logs() as lines:
            assert await world.look_after(CHECK_S) == ["list"]
        assert "rotation" in next(line["why"] for line in lines if line["event"].endswith(".second"))
        del world.tenant.existing["hand"]
        await world.look_after(CHECK_S)
        assert await world.store.two_since() == 5

    run(scenario)


def test_receivers_with_two_urls_are_warned_of_and_the_subscription_moves_when_the_others_are_gone(
    run: Run,
) -> None:
    async def scenario(world: World) -> None:
        world.registrar = world.restarted(url=FORMER)
        await world.look_after(0)
        (one,) = world.tenant.existing.values()
        await world.lives("old-pod", "key-1", url=FORMER)
        world.registrar = world.restarted()
        with capture_logs() as lines:
            for _ in range(2):
                assert await world.look_after(CHECK_S) == ["list"]
        assert (world.registrar.state, world.registrar.settled) == ("two-urls", True)
        (line,) = [line for line in lines if line["event"].endswith(".two_urls")]
        assert "old-pod" in line["receivers"]
        assert FORMER in line["receivers"]
        assert world.tenant.existing[one.id].callback_url == FORMER
        await world.log.redis.delete(world.log.key("replicas"))
        assert await world.look_after(CHECK_S) == ["list", "update"]
        assert [(one.id, one.callback_url) for one in world.tenant.existing.values()] == [(one.id, URL)]
        assert await gaps(world) == [("no-receiver", (A,))]

    run(scenario)


def test_one_that_this_log_did_not_make_is_warned_of(run: Run) -> None:
    async def scenario(world: World) -> None:
        world.tenant.existing["theirs"] = One("theirs", (A, C))
        with capture_logs() as lines:
            await world.look_after(0)
            await world.look_after(CHECK_S)
        assert warnings(lines) == ["adopted"]
        assert next(line for line in lines if line["log_level"] == "warning")["callback_url"] == URL

    run(scenario)


def test_removed_on_request_it_stays_removed_after_a_restart_and_that_is_no_gap(run: Run) -> None:
    async def scenario(world: World) -> None:
        await world.look_after(0)
        await world.store.forget()
        await world.store.set_removed()
        world.tenant.existing.clear()
        for registrar in (world.registrar, world.restarted()):
            world.registrar = registrar
            for _ in range(3):
                assert "subscribe" not in await world.look_after(CHECK_S)
            assert (world.registrar.state, world.registrar.settled) == ("removed", True)
            assert world.metric("awr_registered") == 0
        await world.store.lift_removed()
        assert await world.look_after(CHECK_S) == ["list", "subscribe"]
        assert await gaps(world) == []

    run(scenario)


def test_what_an_earlier_release_stored_is_no_gap_and_its_key_is_known(run: Run) -> None:
    async def scenario(world: World) -> None:
        await world.store.remember({"id": "n9", "callback_url": URL, "types": f"{A},{B}", "key_id": "key-1"})
        world.wanted = frozenset({A, B})
        reconciler = world.registrar._reconciler
        look = await reconciler.look(await reconciler.wanted())
        assert look.known.keys["n9"] == {"key-1"}
        assert await world.look_after(0) == ["list", "subscribe"]
        assert await gaps(world) == []

    run(scenario)


def test_a_gap_of_a_log_that_is_closed_twice_is_recorded_once(run: Run) -> None:
    async def scenario(world: World) -> None:
        await world.look_after(0)
        stored = await world.store.read()
        await world.store.note_missing("not-subscribed", {A}, 1_000)
        raw = await world.log.redis.hget(world.log.key("registration"), "lost")
        for _ in range(2):  # a process that died after it had recorded the gap
            await world.log.redis.hset(world.log.key("registration"), "lost", raw)
            await world.store.confirm(stored, state="registered", key_id="key-1", covers={A})
        assert len(await gaps(world)) == 1
        assert json.loads(raw) == {"not-subscribed": [1_000, [A]]}

    run(scenario)


def test_while_an_earlier_release_runs_no_key_counts_as_out_of_use(run: Run) -> None:
    async def scenario(world: World) -> None:
        await world.look_after(0)
        world.tenant.existing["hand"] = One("hand", (A,))
        world.accepted = ["key-2"]
        world.registrar = world.restarted("key-2")
        await world.log.beat("earlier-release", hole_after_ms=3_000)
        assert await world.look_after(CHECK_S) == ["list"]
        assert len(world.tenant.existing) == 2

    run(scenario)


def test_a_loss_is_counted_once_however_often_restoring_it_fails(run: Run) -> None:
    async def scenario(world: World) -> None:
        await world.look_after(0)
        world.tenant.existing.clear()
        for _ in range(3):
            world.tenant.fails = "subscribe"
            await world.look_after(CHECK_S)
        assert world.metric("awr_registration_lost_total") == 1

    run(scenario)


def test_handlers_that_want_it_hear_of_changes_and_failures(run: Run) -> None:
    async def scenario(world: World) -> None:
        wants = Declaration("h", "v1", (REGISTRATION_CHANGED, REGISTRATION_FAILED), "alarms", "none", "now")
        await world.log.declare([wants])
        await world.look_after(0)
        world.tenant.existing.clear()
        await world.look_after(CHECK_S)
        world.tenant.fails = "list"
        await world.look_after(CHECK_S)
        # A failure that comes again within minutes is counted and not announced again.
        world.tenant.fails = "list"
        await world.look_after(CHECK_S)
        found = [
            (event.type, json.loads(event.body))
            for event in reversed(await list_events(world.log))
            if event.type != "receiver.gap.closed"
        ]
        assert [type_ for type_, _ in found] == [REGISTRATION_CHANGED] * 2 + [REGISTRATION_FAILED]
        created, restored, failed = (body for _, body in found)
        assert (created["action"], created["types"]) == ("create", [A])
        (one,) = world.tenant.existing
        assert (restored["action"], restored["subscriptionId"]) == ("restore", one)
        assert (failed["reason"], failed["status"]) == ("server-fault", 500)
        assert ["alarms"] in world.woken

    run(scenario)
