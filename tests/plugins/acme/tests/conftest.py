"""What the tests share."""

from __future__ import annotations

from pathlib import Path

import pytest
from acme_charging.settings import AcmeSettings
from billing_system import BillingSystem


@pytest.fixture
def settings(tmp_path: Path) -> AcmeSettings:
    return AcmeSettings(database=tmp_path / "acme.sqlite")


@pytest.fixture
def billing_system() -> BillingSystem:
    return BillingSystem()
