"""What a serving process reads at its start, it reads once."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from ampeco.notifications import EntityKeyRules
from receiver.serve import Receiver
from receiver.settings import load


def test_events_that_arrive_and_those_of_a_comparison_have_the_same_rules(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The file may change while the process starts."""
    file = tmp_path / "keys.json"
    file.write_text("{}")
    read: list[Path] = []
    rules_in = EntityKeyRules.load

    def counted(path: Path) -> EntityKeyRules:
        read.append(path)
        return rules_in(path)

    monkeypatch.setattr(EntityKeyRules, "load", counted)
    settings = load(
        {
            "AWR_REDIS_URL": "redis://127.0.0.1:1/0",
            "AWR_TENANT_URL": "https://tenant.example",
            "AWR_PUBLIC_URL": "https://hooks.example",
            "AWR_API_TOKEN": "a-token-of-the-tenant",
            "AWR_BACKFILL": "cdr.received",
            "AWR_ENTITY_KEYS_FILE": str(file),
        }
    )

    async def main() -> None:
        Receiver(settings)

    asyncio.run(main())
    assert read == [file]
