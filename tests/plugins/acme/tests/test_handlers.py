"""What each handler does, by the rules of a worker."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

from acme_charging.handlers import bill, fault_reset, overstay, session_register
from acme_charging.register import SessionRegister
from acme_charging.settings import AcmeSettings
from billing_system import BillingSystem

from ampeco.errors import ChargePointRefused, NoAnswer
from ampeco.notifications import HardwareStatus, SessionUpdate
from handlers import Event
from handlers.testing import Clock, FakeAmpeco, Memory, Outcome, deliver, deliver_due, event_of

STOPPED_AT = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)


def finished(**session: Any) -> Event[SessionUpdate]:
    return event_of(SessionUpdate, session={"status": "finished", "stopped_at": STOPPED_AT, **session})


# -- session register


def test_keeps_a_finished_session(settings: AcmeSettings) -> None:
    register = SessionRegister(settings.database)
    event = finished(id="7", energy=500)
    assert asyncio.run(deliver(session_register, event, settings=settings)).kind == "done"
    assert register.sessions() == {"7": 500.0}


def test_keeps_no_running_session(settings: AcmeSettings) -> None:
    event = event_of(SessionUpdate, session={"status": "active"})
    outcome = asyncio.run(deliver(session_register, event, settings=settings))
    assert (outcome.kind, outcome.reason) == ("skipped", "filtered")
    assert SessionRegister(settings.database).sessions() == {}


def test_writes_nothing_in_a_dry_run(settings: AcmeSettings) -> None:
    outcome = asyncio.run(deliver(session_register, finished(), settings=settings, dry_run=True))
    assert outcome.kind == "done"
    assert SessionRegister(settings.database).sessions() == {}


# -- billing


def billed(event: Event[SessionUpdate], system: BillingSystem, memory: Memory | None = None) -> Outcome:
    return asyncio.run(deliver(bill, event, settings=AcmeSettings(), state=system.client(), memory=memory))


def test_bills_a_paid_session_once_however_often_it_is_announced(billing_system: BillingSystem) -> None:
    memory = Memory()
    for _ in range(2):
        outcome = billed(finished(id="7", payment_status="paid"), billing_system, memory)
        assert outcome.kind == "done"
    assert [made["session"] for made in billing_system.bills] == ["7"]


def test_bills_no_unpaid_and_no_running_session(billing_system: BillingSystem) -> None:
    assert billed(finished(payment_status="pending"), billing_system).kind == "skipped"
    running = event_of(SessionUpdate, session={"status": "active", "payment_status": "paid"})
    assert billed(running, billing_system).reason == "filtered"
    assert billing_system.bills == []


def test_bills_later_when_the_billing_system_is_away(billing_system: BillingSystem) -> None:
    memory, event = Memory(), finished(payment_status="paid")
    billing_system.away = True
    outcome = billed(event, billing_system, memory)
    assert (outcome.kind, outcome.reason) == ("retry", "the billing system is away")
    billing_system.away = False
    assert billed(event, billing_system, memory).kind == "done"
    assert len(billing_system.bills) == 1


def test_a_bill_of_unknown_fate_waits_for_a_human(billing_system: BillingSystem) -> None:
    billing_system.status = 502
    outcome = billed(finished(payment_status="paid"), billing_system)
    assert (outcome.kind, outcome.reason) == ("dead", "step-uncertain")


# -- fault reset


def reset(status: str, ampeco: FakeAmpeco, memory: Memory | None = None, charge_point: int = 12) -> Outcome:
    event = event_of(HardwareStatus, charge_point_id=charge_point, hardware_status=status)
    return asyncio.run(deliver(fault_reset, event, ampeco=ampeco, memory=memory))


def test_resets_a_faulted_charge_point(fake_ampeco: FakeAmpeco) -> None:
    fake_ampeco.seed("charge-points", 12, hardware_status="faulted")
    outcome = reset("faulted", fake_ampeco)
    assert (outcome.kind, outcome.operations) == ("done", ["charge-point.reset"])


def test_leaves_a_charge_point_alone_that_works_or_has_recovered(fake_ampeco: FakeAmpeco) -> None:
    fake_ampeco.seed("charge-points", 12, hardware_status="available")
    assert reset("available", fake_ampeco).reason == "filtered"
    assert reset("faulted", fake_ampeco).reason == "the charge point has recovered"
    assert fake_ampeco.called("charge-point.reset") == []


def test_tries_again_when_the_charge_point_is_not_connected(fake_ampeco: FakeAmpeco) -> None:
    fake_ampeco.seed("charge-points", 12, hardware_status="faulted")
    fake_ampeco.fail("charge-point.reset", ChargePointRefused)
    outcome = reset("faulted", fake_ampeco)
    assert (outcome.kind, outcome.detail) == ("retry", "ChargePointRefused")


def test_resets_a_charge_point_once_an_hour(fake_ampeco: FakeAmpeco, handler_memory: Memory) -> None:
    for charge_point in (12, 13):
        fake_ampeco.seed("charge-points", charge_point, hardware_status="faulted")
    fake_ampeco.fail("charge-point.reset", ChargePointRefused, times=1)
    assert (
        reset("faulted", fake_ampeco, handler_memory).kind == "retry"
    )  # it did nothing, so it does not count
    assert reset("faulted", fake_ampeco, handler_memory).kind == "done"
    assert reset("faulted", fake_ampeco, handler_memory).reason == "throttled"
    assert reset("faulted", fake_ampeco, handler_memory, charge_point=13).kind == "done"
    handler_memory.clock.move(3_600)
    assert reset("faulted", fake_ampeco, handler_memory).kind == "done"


# -- overstay


def overstayed(ampeco: FakeAmpeco, memory: Memory) -> list[Outcome]:
    """A session is announced as finished; then its free time passes."""
    settings = AcmeSettings(free_minutes=15, overstay_fee=10)
    event = event_of(
        SessionUpdate,
        clock=memory.clock,
        session={"status": "finished", "stopped_at": STOPPED_AT, "user_id": 5001, "evse_id": 121},
    )

    async def deliver_both() -> list[Outcome]:
        outcome = await deliver(overstay, event, ampeco=ampeco, memory=memory, settings=settings)
        memory.clock.move(900)
        timers = await deliver_due(overstay, memory, ampeco=ampeco, settings=settings)
        return [outcome, *timers]

    return asyncio.run(deliver_both())


def test_takes_a_fee_when_the_free_time_is_over_and_the_car_still_there() -> None:
    memory = Memory(Clock(STOPPED_AT))
    ampeco = FakeAmpeco(clock=memory.clock)
    ampeco.seed("users", 5001, balance=100)
    ampeco.seed("evses", 121, hardware_status="finishing")

    announced, over = overstayed(ampeco, memory)
    assert [(timer.name, timer.delay_s) for timer in announced.timers] == [("free-time", 900.0)]
    assert (announced.calls, over.kind, over.steps) == ((), "done", ("fee",))
    assert over.calls[0].body == {"amount": 10.0, "description": "The car stayed too long"}

    assert [outcome.kind for outcome in overstayed(ampeco, memory)] == ["done", "done"]  # announced again
    assert len(ampeco.called("user.apply-custom-fee")) == 1


def test_takes_no_fee_when_the_car_has_left(fake_ampeco: FakeAmpeco) -> None:
    fake_ampeco.seed("evses", 121, hardware_status="available")
    _, outcome = overstayed(fake_ampeco, Memory(Clock(STOPPED_AT)))
    assert (outcome.kind, outcome.reason, outcome.calls) == ("skipped", "the car has left", ())


def test_a_fee_of_unknown_fate_waits_for_a_human(fake_ampeco: FakeAmpeco) -> None:
    fake_ampeco.seed("evses", 121, hardware_status="finishing")
    fake_ampeco.fail("user.apply-custom-fee", NoAnswer)
    _, outcome = overstayed(fake_ampeco, Memory(Clock(STOPPED_AT)))
    assert (outcome.kind, outcome.reason) == ("dead", "step-uncertain")
