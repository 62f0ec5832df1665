"""What every handler has to live with."""

from __future__ import annotations

import tempfile
from pathlib import Path

from acme_charging.handlers import bill, fault_reset, overstay, session_register
from acme_charging.register import SessionRegister
from acme_charging.settings import AcmeSettings
from billing_system import BillingSystem

from handlers.testing import conformance

_SETTINGS = AcmeSettings(database=Path(tempfile.mkdtemp()) / "acme.sqlite")
_SYSTEM = BillingSystem()

TestBilling = conformance(
    bill, settings=_SETTINGS, state=_SYSTEM.client, effects=lambda _: len(_SYSTEM.bills)
)
TestFaultReset = conformance(fault_reset)
TestOverstay = conformance(overstay, settings=_SETTINGS)
TestRegister = conformance(
    session_register,
    settings=_SETTINGS,
    state=lambda: SessionRegister(_SETTINGS.database),
    effects=lambda register: register.sessions(),
)
