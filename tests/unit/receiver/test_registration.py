"""Registration: the plan is the difference, never a second subscription, never a silent loss of a type."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ampeco.catalogue import SUBSCRIBABLE
from ampeco.errors import Invalid, ServerFault
from handlers.internal import PAYLOADS
from receiver.registration import (
    Known,
    Plan,
    apply,
    reconcile,
    same_url,
)
from receiver.subscribed_types import newer, one_spelling, other_spellings, refused, subscribable

URL = "https://us.example/webhooks/ampeco"
OLD, NEW = "SessionStartStopNotification", "session.start.stop.notification"
LEGACY, EDITED, EVSE = "ChargePointChangedNotification", "chargePoint.changed", "evse.changed"
A, B, C = "BootNotification", "SessionUpdateNotification", "cdr.received"


@dataclass(frozen=True)
class One:
    id: str
    notifications: tuple[str, ...]
    callback_url: str | None = URL
    via: str = "webhook"


class Tenant:
    """AMPECO's notification subscriptions, in memory; `fails` names the call that fails next."""

    def __init__(self, existing: Sequence[One] = ()) -> None:
        self.existing = {one.id: one for one in existing}
        self.calls: list[str] = []
        self.fails: str | None = None

    def _called(self, name: str) -> None:
        self.calls.append(name)
        if self.fails == name:
            self.fails = None
            raise ServerFault(f"notifications.{name}", 500, "")

    async def list(self) -> list[One]:
        self._called("list")
        return [*self.existing.values()]

    async def subscribe(self, notifications: Sequence[str], *, callback_url: str) -> One:
        self._called("subscribe")
        one = One(f"n{len(self.calls)}", tuple(notifications), callback_url)
        self.existing[one.id] = one
        return one

    async def update(
        self, id: str, notifications: Sequence[str], *, callback_url: str, key_id: str = ""
    ) -> None:
        self._called("update")
        self.existing[id] = replace(
            self.existing[id], notifications=tuple(notifications), callback_url=callback_url
        )

    async def unsubscribe(self, id: str, *, key_id: str = "") -> None:
        self._called("unsubscribe")
        self.existing.pop(id, None)


@pytest.mark.parametrize(
    ("errors", "named"),
    [
        ({"notifications.1": ["no"]}, {"issue.changed"}),
        ({"notifications": ["holds an unknown value"]}, {"issue.changed"}),
        ({"notifications.7": ["no"], "webhook.callbackUrl": ["no"]}, {"issue.changed"}),
        ({"webhook.callbackUrl": ["must be https"]}, set()),
        ({}, set()),
    ],
)
def test_only_types_that_a_refusal_can_mean_are_left_out(
    errors: dict[str, list[str]], named: set[str]
) -> None:
    error = Invalid("notifications.subscribe", 422, "", errors=errors)
    assert refused([A, "issue.changed", C], error) == named


def test_nothing_there_means_create() -> None:
    plan = reconcile([], frozenset({B, A}), URL)
    assert (plan.action, plan.types, plan.keep) == ("create", (A, B), None)


def test_what_is_right_is_kept() -> None:
    plan = reconcile([One("1", (B, A))], frozenset({A, B}), URL)
    assert plan == Plan(keep="1", types=(A, B))
    assert (plan.action, plan.changes) == ("keep", False)


def test_a_missing_type_is_added() -> None:
    plan = reconcile([One("1", (A,))], frozenset({A, B}), URL)
    assert (plan.action, plan.types) == ("update", (A, B))


def test_a_type_nobody_wants_stays_and_is_named() -> None:
    plan = reconcile([One("1", (A, B))], frozenset({A}), URL)
    assert (plan.action, plan.types, plan.unwanted) == ("keep", (A, B), (B,))


def test_an_empty_registry_plans_nothing_whatever_there_is() -> None:
    assert reconcile([One("1", (A,)), One("2", (A,))], frozenset(), URL) == Plan()
    assert Plan().action == "nothing"


def dead(*ids: str, **more: object) -> Known:
    """These are known to be signed with a key that no receiver accepts any more."""
    keys = {id_: frozenset({"old-key"}) for id_ in ids}
    return Known(keys=keys, accepted=frozenset({"new-key"}), **more)  # type: ignore[arg-type]


def test_a_second_one_stays_while_no_record_names_its_key() -> None:
    plan = reconcile([One("1", (A,)), One("2", (B, C))], frozenset({B}), URL)
    assert (plan.keep, plan.extras, plan.left, plan.types) == ("2", (), ("1",), (B, C))
    assert not plan.changes


def test_one_whose_key_is_out_of_use_is_removed_without_losing_its_types() -> None:
    existing = [One("1", (A,)), One("2", (B, C))]
    plan = reconcile(existing, frozenset({B}), URL, known=dead("1", id="1"))
    assert (plan.keep, plan.extras, plan.left, plan.types, plan.action) == (
        "2",
        ("1",),
        (),
        (A, B, C),
        "update",
    )


def test_nothing_is_removed_while_something_holds_it_back() -> None:
    existing = [One("1", (A,)), One("2", (A,))]
    plan = reconcile(existing, frozenset({A}), URL, known=dead("1", held="a rotation is open"))
    assert (plan.keep, plan.extras, plan.left) == ("2", (), ("1",))


def test_a_key_that_some_receiver_accepts_keeps_its_subscription() -> None:
    known = Known(
        keys={"1": frozenset({"old-key", "new-key"}), "2": frozenset({"new-key"})},
        accepted=frozenset({"new-key"}),
    )
    plan = reconcile([One("1", (A,)), One("2", (A,))], frozenset({A}), URL, known=known)
    assert plan.extras == ()


def test_an_only_one_whose_key_is_out_of_use_is_replaced() -> None:
    plan = reconcile([One("1", (A,))], frozenset({A}), URL, known=dead("1", id="1", covers=frozenset({A})))
    assert (plan.action, plan.extras, plan.types, plan.lost) == ("create", ("1",), (A,), {A})


def test_an_operator_may_have_any_for_our_url_removed_and_no_other() -> None:
    existing = [One("1", (A,)), One("2", (A,)), One("9", (A,), "https://them.example/hook")]
    plan = reconcile(existing, frozenset({A}), URL, known=Known("1"), remove=frozenset({"2", "9"}))
    assert (plan.keep, plan.extras, plan.left) == ("1", ("2",), ())


def test_of_several_the_one_we_remember_is_kept() -> None:
    existing = [One("1", (A, B)), One("2", (A,))]
    assert reconcile(existing, frozenset({A, B}), URL, known=Known("2")).keep == "2"
    assert reconcile(existing, frozenset({A, B}), URL, known=Known("gone")).keep == "1"


@pytest.mark.parametrize("other", [[], [One("9", (A, B), "https://them.example/hook")]])
def test_what_was_confirmed_and_is_gone_is_lost(other: list[One]) -> None:
    known = Known("1", URL, frozenset({A, B, C}))
    plan = reconcile(other, frozenset({A, B}), URL, known=known)
    assert (plan.action, plan.lost) == ("create", {A, B})


def test_a_type_taken_out_by_hand_is_lost_and_put_back() -> None:
    plan = reconcile([One("1", (A,))], frozenset({A, B}), URL, known=Known("1", URL, frozenset({A, B})))
    assert (plan.action, plan.lost, plan.adds) == ("update", {B}, (B,))


def test_nothing_is_lost_while_another_for_our_url_has_it() -> None:
    known = Known("gone", URL, frozenset({A, B}))
    plan = reconcile([One("2", (A, B))], frozenset({A, B}), URL, known=known)
    assert (plan.keep, plan.change, plan.lost) == ("2", False, frozenset())


def test_ours_with_another_url_is_moved_to_ours() -> None:
    former = "https://former.example/webhooks/ampeco"
    known = Known("1", former, frozenset({A}))
    plan = reconcile([One("1", (A,), former)], frozenset({A}), URL, known=known)
    assert (plan.keep, plan.change, plan.moved_from, plan.lost) == ("1", True, former, {A})


def test_ours_with_a_former_url_goes_when_there_is_one_with_ours() -> None:
    former = "https://former.example/webhooks/ampeco"
    existing = [One("1", (A,), former), One("2", (A,))]
    assert reconcile(existing, frozenset({A}), URL, known=Known("1", former)).extras == ("1",)
    assert reconcile(existing, frozenset({A}), URL, known=Known("1", URL)).extras == ()


@pytest.mark.parametrize(
    "other",
    [
        One("9", (A,), "https://us.example/other"),
        One("9", (A,), "https://them.example/webhooks/ampeco"),
        One("9", (A,), "http://us.example/webhooks/ampeco"),
        One("9", (A,), None),
        One("9", (A,), "https://[us"),
        One("9", (A,), URL, via="kafka"),
    ],
)
def test_others_are_not_ours(other: One) -> None:
    plan = reconcile([other], frozenset({A}), URL)
    assert (plan.action, plan.extras) == ("create", ())


@pytest.mark.parametrize(
    "same", ["https://US.example/webhooks/ampeco", f"{URL}/", "https://us.example:443/webhooks/ampeco"]
)
def test_one_address_has_several_spellings(same: str) -> None:
    assert same_url(same, URL)
    assert reconcile([One("1", (A,), same)], frozenset({A}), URL).action == "keep"


def test_everything_is_spelled_out_and_our_own_types_never_leave_the_house() -> None:
    assert subscribable(PAYLOADS) == frozenset()
    assert subscribable({"*", "new.type", *PAYLOADS}) == SUBSCRIBABLE | {"new.type"}
    assert one_spelling([{name} for name in PAYLOADS]) == frozenset()
    assert not SUBSCRIBABLE & PAYLOADS.keys()
    assert len(SUBSCRIBABLE) == 42


@pytest.mark.parametrize(
    ("wants", "refuses", "subscribed"),
    [
        ([{OLD, NEW}], set(), {NEW}),
        ([{OLD, NEW}], {NEW}, {OLD}),
        ([{OLD, NEW}], {OLD, NEW}, set()),
        ([{OLD, NEW}, {OLD}], set(), {OLD}),
        ([{OLD, NEW}, {OLD}], {OLD}, {NEW}),
        ([{OLD, NEW}, {NEW}, {OLD}], set(), {OLD, NEW}),
        ([{OLD}], set(), {OLD}),
        ([{EDITED}, {OLD, NEW}, {A}], set(), {A, EDITED, NEW}),
        ([{LEGACY, EDITED}], set(), {EDITED}),
        ([{LEGACY, EDITED}], {EDITED}, {LEGACY}),
        ([{LEGACY, EDITED, EVSE}], set(), {EDITED, EVSE}),
        ([{LEGACY, EDITED, EVSE}], {EVSE}, {EDITED}),
        ([{LEGACY, EDITED, EVSE}], {EVSE, LEGACY}, {EDITED}),
        ([{"receiver.gap.closed", A}], set(), {A}),
        ([], set(), set()),
    ],
)
def test_a_fact_with_two_spellings_is_subscribed_under_one(
    wants: list[set[str]], refuses: set[str], subscribed: set[str]
) -> None:
    assert one_spelling(wants, frozenset(refuses)) == subscribed


def test_everything_is_subscribed_under_one_spelling_each() -> None:
    everything = one_spelling([{"*"}])
    assert not any(newer(name) for name in everything)
    assert everything | other_spellings(everything) >= SUBSCRIBABLE


@given(
    st.lists(st.frozensets(st.sampled_from([OLD, NEW, LEGACY, EDITED, EVSE, A]), min_size=1), max_size=4),
    st.frozensets(st.sampled_from([NEW, EDITED, EVSE, LEGACY])),
)
def test_every_handler_gets_each_fact_it_takes_as_far_as_the_tenant_has_it(
    wants: list[frozenset[str]], refuses: frozenset[str]
) -> None:
    subscribed = one_spelling(wants, refuses)
    assert not subscribed & refuses
    for types in wants:
        for name in types - refuses - subscribed:
            newer_ones, older_ones = newer(name) & types, {old for old in types if name in newer(old)}
            assert (newer_ones and newer_ones <= subscribed | refuses) or older_ones & subscribed


types = st.frozensets(st.sampled_from([A, B, C, "x.changed"]), max_size=4)
subscriptions = st.lists(
    st.builds(
        One,
        st.uuids().map(str),
        types.map(lambda t: tuple(sorted(t))),
        st.sampled_from([URL, f"{URL}/", None]),
    ),
    max_size=4,
)


def delivered(tenant: Tenant) -> set[str]:
    """All types that come to our URL."""
    return {name for one in tenant.existing.values() if one.callback_url for name in one.notifications}


known_ones = st.builds(
    lambda ids, held: dead(*ids, held=held), st.just(("1", "2")), st.sampled_from(["", "a rotation is open"])
)


@given(subscriptions, types.filter(bool), known_ones)
def test_applied_once_it_is_right_and_a_second_time_changes_nothing(
    existing: list[One], wanted: frozenset[str], known: Known
) -> None:
    async def scenario() -> None:
        tenant = Tenant([replace(one, id=str(number)) for number, one in enumerate(existing)])
        before = delivered(tenant)
        kept = await apply(reconcile(await tenant.list(), wanted, URL, known=known), tenant, URL)
        assert kept is not None
        assert wanted <= set(tenant.existing[kept].notifications)
        assert delivered(tenant) == wanted | before
        again = reconcile(await tenant.list(), wanted, URL, known=replace(known, id=kept))
        assert (again.keep, again.changes) == (kept, False)

    asyncio.run(scenario())


@given(subscriptions, types.filter(bool), known_ones, st.sampled_from(["subscribe", "update", "unsubscribe"]))
def test_a_failure_in_between_loses_no_type_and_the_next_plan_mends_it(
    existing: list[One], wanted: frozenset[str], known: Known, fails: str
) -> None:
    async def scenario() -> None:
        tenant = Tenant([replace(one, id=str(number)) for number, one in enumerate(existing)])
        before = delivered(tenant)
        tenant.fails = fails
        try:
            await apply(reconcile(await tenant.list(), wanted, URL, known=known), tenant, URL)
        except ServerFault:
            assert before <= delivered(tenant)
            await apply(reconcile(await tenant.list(), wanted, URL, known=known), tenant, URL)
        assert delivered(tenant) == wanted | before

    asyncio.run(scenario())


def test_only_what_a_retired_handler_wanted_is_given_up() -> None:
    plan = reconcile([One("n1", (A, B, C))], frozenset({A}), URL, released=frozenset({A, B}))
    assert (plan.types, plan.change, plan.unwanted) == ((A, C), True, (C,))
