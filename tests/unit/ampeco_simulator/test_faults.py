"""Faults that overlap leave nothing behind."""

import asyncio
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from ampeco.simulator.fleet.faults import Trouble
from ampeco.simulator.fleet.plan import Fault
from ampeco.simulator.model import SubscriptionRequest
from ampeco.simulator.tenant import Tenant

TOKEN = "t0k3n"


def during(story: Callable[[Trouble, Tenant], None]) -> None:
    async def run() -> None:
        tenant = Tenant([TOKEN])
        tenant.subscribe(SubscriptionRequest("webhook", ("BootNotification",), "http://127.0.0.1:1/"), TOKEN)
        story(Trouble(tenant, SimpleNamespace(fleet=None)), tenant)

    asyncio.run(run())


def test_the_tenant_has_its_own_habits_again_whichever_fault_ends_first() -> None:
    def story(trouble: Trouble, tenant: Tenant) -> None:
        own = tenant.habits
        trouble._begin(1, Fault("habits", habits={"delay_s": 1.0}))
        trouble._begin(2, Fault("habits", habits={"delay_s": 2.0, "late_s": 9.0}))
        trouble._end(1)
        assert (tenant.habits.delay_s, tenant.habits.late_s) == (2.0, 9.0)
        trouble._end(2)
        assert tenant.habits == own

    during(story)


def test_an_earlier_fault_is_felt_again_when_a_later_one_is_over() -> None:
    def story(trouble: Trouble, tenant: Tenant) -> None:
        own = tenant.habits
        trouble._begin(1, Fault("habits", habits={"delay_s": 1.0}))
        trouble._begin(2, Fault("habits", habits={"delay_s": 2.0}))
        trouble._end(2)
        assert tenant.habits.delay_s == 1.0
        trouble.end()
        assert tenant.habits == own

    during(story)


def test_subscriptions_are_enabled_when_the_last_fault_that_disables_them_is_over() -> None:
    def story(trouble: Trouble, tenant: Tenant) -> None:
        trouble._begin(1, Fault("disable-subscriptions"))
        trouble._begin(2, Fault("disable-subscriptions"))
        trouble._end(1)
        assert not tenant.subscriptions[1].enabled
        trouble._end(2)
        assert tenant.subscriptions[1].enabled

    during(story)


def test_a_fault_that_ends_as_it_begins_is_refused() -> None:
    with pytest.raises(ValueError, match="not after"):
        Fault("disable-subscriptions", from_s=3.0, to_s=3.0)
