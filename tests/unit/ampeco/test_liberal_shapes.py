"""Shapes that the contract does not have are read too: wrapped, nested, snake_case, with nulls, with new fields."""

import json
from pathlib import Path
from typing import Any

import pytest

from ampeco.notifications import parse

SHAPES = Path(__file__).parents[2] / "samples"
CASES = sorted(path.parent for path in SHAPES.glob("*/*/body.json"))

cases = pytest.mark.parametrize("case", CASES, ids=[f"{case.parent.name}/{case.name}" for case in CASES])


def about(case: Path) -> Any:
    return json.loads((case / "about.json").read_text())


@cases
def test_it_is_read_as_it_says(case: Path) -> None:
    found = parse((case / "body.json").read_bytes())
    at = found.occurred_at
    assert found.type == case.parent.name
    assert (found.key, at and at.isoformat()) == (about(case)["key"], about(case)["occurred_at"])
    assert type(found.payload).__name__ == about(case)["model"]
    assert about(case)["why"]


STARTED = {"startedAtTimestamp": "2026-01-01T00:00:00Z"}


@pytest.mark.parametrize(
    ("fields", "action"),
    [
        ({"session": {"id": 1, "status": "finished"}}, "stop"),
        ({"session": {"id": 1, "endedAt": "2026-01-01T00:00:00Z"}}, "stop"),
        ({"sessionId": 1, **STARTED, "reason": "timeout"}, "stop"),
        ({"sessionId": 1, **STARTED}, "start"),
        ({"session": {"id": 1, "startedAt": "2026-01-01T00:00:00Z"}}, "start"),
        ({"session": 4711}, None),
    ],
)
def test_a_missing_action_is_inferred_only_where_the_body_says_it(
    fields: dict[str, Any], action: str | None
) -> None:
    found = parse(json.dumps({"notification": "SessionStartStopNotification", **fields}).encode())
    assert found.payload is not None
    if action is None:
        assert "action" in found.misfits
    else:
        assert found.payload.action == action  # type: ignore[attr-defined]
