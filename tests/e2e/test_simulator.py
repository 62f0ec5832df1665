"""The simulator as a command, and single notifications sent through it."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterable
from pathlib import Path

import httpx2
import pytest

from commands.demo_stack import free_port
from tests.e2e.process_tree import ran, started
from tests.harness import soon


def test_a_notification_is_sent_by_hand(tmp: Path) -> None:
    file = tmp / "token"
    file.write_text("a-token\n")
    with started("simulator", "--port", "0", "--token-file", str(file), tmp=tmp) as simulator:
        url = simulator.says(r"The simulator is at (\S+), its API token is the one that it was given")[1]
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


def test_its_token_may_come_from_the_environment_and_is_never_shown(tmp: Path) -> None:
    with started(
        "simulator", "--port", "0", tmp=tmp, SIMULATOR_TOKEN="token-of-the-environment"
    ) as simulator:
        url = simulator.says(r"The simulator is at (\S+), its API token is the one that it was given")[1]
        answer = httpx2.get(
            f"{url}/public-api/notifications/v2.0",
            headers={"Authorization": "Bearer token-of-the-environment"},
            trust_env=False,
        )
        assert answer.status_code == 200
    assert "token-of-the-environment" not in simulator.stdout + simulator.stderr


@pytest.mark.parametrize(
    ("token", "fault"),
    [
        (b"", "is empty"),
        (b"\xef\xbb\xbfS3CRET", "U+FEFF"),
        (b"\xffS3CRET", "not UTF-8"),
        (b"Bearer S3CRET", "Bearer"),
        (b"'S3CRET'", "in quotes"),
        (b"S3CRET,S3CRET", "comma"),
        (b"S3CRET\n\n", "cannot be seen"),
    ],
)
def test_a_token_that_was_copied_badly_is_refused(tmp: Path, token: bytes, fault: str) -> None:
    file = tmp / "token"
    file.write_bytes(token)
    refused = ran("simulator", "--port", "0", "--token-file", str(file), tmp=tmp)
    assert refused.process.returncode == 2
    (line,) = refused.stderr.splitlines()
    assert "--token-file" in line
    assert fault in line
    assert "S3CRET" not in line


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        (("--token", "S3CRET"), "--token-file"),
        (("--token-file", "/no/such/file"), "No such file"),
        (("--token-file", "/"), "Is a directory"),
        (("--host", "203.0.113.7"), "--host: is not an address of this machine"),
        (("--host", "a..b"), "--host: is not an address of this machine"),
    ],
)
def test_what_it_cannot_serve_with_is_one_line(tmp: Path, options: tuple[str, ...], fault: str) -> None:
    refused = ran("simulator", "--port", "0", *options, tmp=tmp)
    assert refused.process.returncode == 2
    (line,) = refused.stderr.splitlines()
    assert fault in line
    assert "S3CRET" not in line


@pytest.mark.parametrize(
    "url", ["http://user:S3CRET@127.0.0.1:1", "http://:S3CRET@h", "x", "http://h:S3CRET", "http://h\x1b"]
)
def test_an_odd_url_of_a_simulator_is_refused_without_repeating_it(tmp: Path, url: str) -> None:
    refused = ran("simulator", "send", "x", "--url", url, tmp=tmp)
    assert refused.process.returncode == 2
    (line,) = refused.stderr.splitlines()
    assert "--url" in line
    assert "S3CRET" not in line


@pytest.mark.parametrize("words", [("demo", "--seconds", "5"), ("dev", "{file}")])
def test_no_process_of_a_demonstration_has_the_token_in_its_command_line(
    tmp: Path, words: tuple[str, ...]
) -> None:
    file = tmp / "first.py"
    file.write_text("")
    with started(*(word.format(file=file) for word in words), tmp=tmp) as command:
        soon(lambda: len(_with_token(command.running())) >= 3, within_s=60)
        found = _with_token(command.running())
        (token,) = set(found.values())
        assert token not in _OTHER_TOKENS
        assert not any(
            token.encode() in _file(pid, "cmdline") for pid in [*command.running(), command.process.pid]
        )
        command.ask_to_end(signal.SIGINT)
        command.ends()
    assert token not in command.stdout + command.stderr


_OTHER_TOKENS = ("", "simulated-tenant-token")


def _with_token(pids: Iterable[int]) -> dict[int, str]:
    """The API token in the environment of each process that has one."""
    found = {}
    for pid in pids:
        names = dict(part.partition(b"=")[::2] for part in _file(pid, "environ").split(b"\0"))
        if token := names.get(b"AWR_API_TOKEN"):
            found[pid] = token.decode()
    return found


def _file(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:  # it has ended meanwhile
        return b""


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
    assert "rush: is not a scenario; there are bad-day, " in unknown.stderr
