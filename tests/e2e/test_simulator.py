"""The simulator as a command, and single notifications sent through it."""

from __future__ import annotations

import json
from pathlib import Path

import httpx2

from commands.demo_stack import free_port
from tests.e2e.process_tree import ran, started


def test_a_notification_is_sent_by_hand(tmp: Path) -> None:
    with started("simulator", "--port", "0", "--token", "a-token", tmp=tmp) as simulator:
        url = simulator.says(r"The simulator is at (\S+), its API token is a-token")[1]
        sent = ("simulator", "send", "SessionUpdateNotification", "--url", url)

        unheard = ran(*sent, tmp=tmp)
        assert (unheard.process.returncode, unheard.stdout) == (1, "")
        assert "no notification subscription includes SessionUpdateNotification" in unheard.stderr

        subscription = {
            "via": "webhook",
            "notifications": ["SessionUpdateNotification"],
            "webhook": {"callbackUrl": f"http://127.0.0.1:{free_port()}/"},
        }
        made = httpx2.post(
            f"{url}/public-api/notifications/v2.0",
            json=subscription,
            headers={"Authorization": "Bearer a-token"},
            trust_env=False,
        )
        assert made.status_code == 201

        changes = (
            "--set",
            "session.status=finished",
            "--set",
            "session.id=7",
            "--set",
            "session.extra.deep=true",
        )
        heard = ran(*sent, *changes, "--show", tmp=tmp)
        assert heard.process.returncode == 0, heard.stderr
        body, _, rest = heard.stdout.partition("\n}\n")
        session = json.loads(body + "}")["session"]
        assert (session["status"], session["id"], session["extra"]) == ("finished", 7, {"deep": True})
        assert rest == "SessionUpdateNotification is on its way to 1 notification subscription(s)\n"
        state = httpx2.get(f"{url}/simulator/state", trust_env=False).json()
        assert state["types"]["SessionUpdateNotification"]["sent"] == 1

        wrong = ran(*sent, "--set", "session", tmp=tmp)
        assert wrong.process.returncode == 2
        assert "is not path=value" in wrong.stderr


def test_without_a_simulator_nothing_can_be_sent(tmp: Path) -> None:
    sent = ran("simulator", "send", "x", "--url", f"http://127.0.0.1:{free_port()}", tmp=tmp)
    assert sent.process.returncode == 3
    assert sent.stderr.startswith("ampeco-receiver: no simulator answers at ")


def test_a_scenario_it_cannot_play_is_refused_at_the_start(tmp: Path) -> None:
    scenario = tmp / "scenario.json"
    scenario.write_text('{"charge_points": 0, "speed": 3}')
    refused = ran("simulator", "--port", "0", "--scenario", str(scenario), tmp=tmp)
    assert refused.process.returncode == 2
    assert "charge_points" in refused.stderr
    assert "speed" in refused.stderr


def test_a_shipped_scenario_is_played_by_name_and_its_habits_give_way_to_options(tmp: Path) -> None:
    options = ("--scenario", "outage-and-resend", "--resend-every", "7")
    with started("simulator", "--port", "0", *options, tmp=tmp) as simulator:
        url = simulator.says(r"The simulator is at (\S+),")[1]
        scenario = httpx2.get(f"{url}/simulator/state", trust_env=False).json()["scenario"]
        assert (scenario["running"], scenario["charge_points"]) == (True, 30)
        habits = httpx2.get(f"{url}/simulator/habits", trust_env=False).json()["habits"]
        assert (habits["retry_pauses_s"], habits["resend_every_s"]) == ([0.5, 1.0], 7)
    unknown = ran("simulator", "--scenario", "rush", tmp=tmp)
    assert unknown.process.returncode == 2
    assert "rush: is no scenario; there are bad-day, " in unknown.stderr
