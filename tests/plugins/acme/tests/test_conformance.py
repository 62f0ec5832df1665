"""What every handler has to live with."""

from __future__ import annotations

import asyncio
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from acme_charging.handlers import bill, fault_reset, overstay, session_register
from acme_charging.register import SessionRegister
from acme_charging.settings import AcmeSettings
from billing_system import BillingSystem

from ampeco.notifications import HardwareStatus, SessionUpdate
from handlers.testing import FakeAmpeco, Memory, Outcome, conformance, deliver, deliver_due, event_of

_SETTINGS = AcmeSettings(database=Path(tempfile.mkdtemp()) / "acme.sqlite")
_SYSTEM = BillingSystem()
_STOPPED_AT = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
_FAULT = event_of(HardwareStatus, charge_point_id=12, hardware_status="faulted")
_PAID = event_of(
    SessionUpdate,
    session={
        "status": "finished",
        "payment_status": "paid",
        "stopped_at": _STOPPED_AT,
        "user_id": 5001,
        "evse_id": 121,
    },
)
"""The samples of the types reach no effect: a session is active in them, and a charge point works."""


def tenant() -> FakeAmpeco:
    """A tenant in which there is something to do."""
    made = FakeAmpeco(unknown="example")
    made.seed("charge-points", 12, hardware_status="faulted")
    made.seed("evses", 121, hardware_status="finishing")
    made.seed("users", 5001, balance=100)
    return made


TestBilling = conformance(
    bill, settings=_SETTINGS, state=_SYSTEM.client, effects=lambda _: len(_SYSTEM.bills), events=[_PAID]
)
TestFaultReset = conformance(fault_reset, ampeco=tenant, events=[_FAULT], contract="1.1")
TestOverstay = conformance(overstay, settings=_SETTINGS, ampeco=tenant, events=[_PAID])
TestRegister = conformance(
    session_register,
    settings=_SETTINGS,
    state=lambda: SessionRegister(_SETTINGS.database),
    effects=lambda register: register.sessions(),
    events=[_PAID],
)


async def after_free_time() -> list[Outcome]:
    memory = Memory()
    await deliver(overstay, _PAID, memory=memory, ampeco=tenant(), settings=_SETTINGS)
    memory.clock.move(86_400)
    return await deliver_due(overstay, memory, ampeco=tenant(), settings=_SETTINGS)


def test_the_events_reach_what_the_handlers_do() -> None:
    """Without this the suite above would prove nothing."""
    faults = asyncio.run(deliver(fault_reset, _FAULT, ampeco=tenant()))
    assert faults.operations == ["charge-point.reset"]
    fees = asyncio.run(after_free_time())
    assert [fee.operations for fee in fees] == [["user.apply-custom-fee"]]
    bills = asyncio.run(deliver(bill, _PAID, settings=_SETTINGS, state=_SYSTEM.client()))
    assert bills.steps == ("bill",)
