"""Settings of the plugin, read from the environment."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings


class AcmeSettings(BaseSettings, env_prefix="ACME_"):
    """Each field is an environment variable that begins with ACME_."""

    database: Path = Field(default=Path("acme.sqlite"), description="File of the session register.")
    billing_url: str = Field(default="http://127.0.0.1:9000", description="Base URL of the billing system.")
    free_minutes: float = Field(default=15.0, description="Minutes a car may stay after its session.")
    overstay_fee: float = Field(default=10.0, description="Fee in the currency of the tenant.")
