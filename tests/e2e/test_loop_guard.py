"""Two handlers that undo each other's action, against a tenant whose charge points report what is done to them."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from ampeco.simulator.testing import Box, tenant_in_a_box
from tests.e2e.process_tree import ran, started
from tests.e2e.test_run import configured
from tests.harness import soon

UNDOING = """
import json, os, pathlib
from ampeco.notifications import HardwareStatus
from handlers import Context, Event, Skip, handler

OUT = pathlib.Path(os.environ["REC_OUT"])
CHANGE = ["charge-point.change-availability"]

@handler("off", calls=CHANGE)
async def off(event: Event[HardwareStatus], ctx: Context) -> None:
    if event.payload.hardware_status != "available":
        raise Skip("not available")
    await ctx.ampeco.actions.charge_point.change_availability(event.payload.charge_point_id, type="Inoperative")

@handler("on", calls=CHANGE)
async def on(event: Event[HardwareStatus], ctx: Context) -> None:
    if event.payload.hardware_status != "unavailable":
        raise Skip("not unavailable")
    await ctx.ampeco.actions.charge_point.change_availability(event.payload.charge_point_id, type="Operative")

@handler("watch", order="none")
async def watch(event: Event[HardwareStatus], ctx: Context) -> None:
    said = {"key": event.key, "status": event.payload.hardware_status}
    if event.echo_of is not None:
        said |= {"action": event.echo_of.action, "by": event.echo_of.handler}
    with OUT.open("a") as out:
        out.write(json.dumps(said) + "\\n")
"""
CHARGE_POINTS = 3
DEPTH = 5


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "undoing.py"
    path.write_text(UNDOING)
    return path


def _rounds(box: Box) -> Counter[tuple[int, str]]:
    """(charge point, word) -> how often it was called."""
    return Counter(
        (int(done["params"]["chargePoint"]), str(done["body"]["type"]))
        for done in box.actions()
        if done["operation"] == "charge-point.change-availability"
    )


def _seen(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []


def test_they_make_at_most_five_rounds_and_everything_else_goes_on(file: Path, tmp_path: Path, tmp: Path):
    out = tmp_path / "out"
    with tenant_in_a_box() as box:
        environ = {**configured(box.url, tmp), "AWR_API_TOKEN": box.token, "REC_OUT": str(out)}
        with started("run", "--load", str(file), tmp=tmp, **environ) as run:
            box.wait(lambda state: bool(state["subscriptions"]), timeout_s=60)
            box.start(charge_points=CHARGE_POINTS, rate=20)

            def explained(number: int) -> str:
                return ran("explain", f"charge-point:{number}", tmp=tmp, **environ).stdout

            all_of_them = {f"charge-point:{number}" for number in range(1, CHARGE_POINTS + 1)}
            soon(lambda: _held(run.stderr) == all_of_them, within_s=90, every_s=0.3)
            before = len(_seen(out))
            soon(lambda: len(_seen(out)) > before + 60, within_s=60, every_s=0.2)  # everything else goes on
            rounds = _rounds(box)
            assert {number for number, _ in rounds} == set(range(1, CHARGE_POINTS + 1))
            assert max(rounds.values()) <= DEPTH, rounds
            echoes = [(one["action"], one["by"]) for one in _seen(out) if "by" in one]
            assert set(echoes) == {("charge-point.change-availability", name) for name in ("off", "on")}
            held = next(n for n in range(1, CHARGE_POINTS + 1) if "loop-guard" in explained(n))
            assert f"`events hurry charge-point:{held}` ends these waits now" in explained(held)

            # An operator lifts it for one charge point: as many again, and for no other one.
            hurried = ran("events", "hurry", f"charge-point:{held}", "--yes", tmp=tmp, **environ)
            assert "due now" in hurried.stdout
            soon(lambda: _of(_rounds(box), held) > _of(rounds, held), every_s=0.2)
            for number in range(1, CHARGE_POINTS + 1):
                if number != held:
                    assert _of(_rounds(box), number) == _of(rounds, number)


def _of(rounds: Counter[tuple[int, str]], number: int) -> int:
    return sum(count for (each, _), count in rounds.items() if each == number)


def _held(said: str) -> set[str]:
    """The entities of which the log says that an action is held back."""
    lines = [json.loads(line) for line in said.splitlines() if "action.held_back" in line]
    return {line["key"] for line in lines}
