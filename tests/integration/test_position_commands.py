"""The commands over handlers and dead letters: what they print, when they act, and how they end."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest

from commands.options import moment_ms
from handlers import Context, Event, GiveUp, Raw, handler
from tests.cli import Cli
from tests.harness import declaration, drained, event, opened

FILE = """
from handlers import Context, Event, Raw, Skip, handler

@handler("h", on=["*"], calls=["charge-point.reset"], dry_run=True)
async def h(event: Event[Raw], ctx: Context) -> None:
    if event.payload.data.get("n") == 2:
        raise Skip("not for me")
    await ctx.once("mail", lambda: 1 / 0)
"""


@pytest.fixture
def cli(capsys, monkeypatch, valkey, prefix) -> Cli:
    """A log with three dead letters of the handler `h`, and one event that it handled."""

    @handler("h", on=["*"])
    async def h(event: Event[Raw], ctx: Context) -> None:
        if event.payload.data["n"]:
            raise GiveUp("broken")

    async def fill() -> None:
        async with opened(valkey.url, prefix) as log:
            await log.declare([declaration(h)])
            await log.append([event(key=f"session:{n % 2}", n=n) for n in range(4)])
            await drained(log, h)

    asyncio.run(fill())
    return Cli(capsys, monkeypatch, valkey.url, prefix)


def test_dead_letters_are_listed_shown_tried_again_and_thrown_away(cli):
    rows = cli.json("dead", "list")
    assert [row["reason"] for row in rows] == ["gave-up"] * 3
    assert len(cli.json("dead", "list", "--limit", "2", "--before", rows[0]["id"])) == 2
    (shown,) = cli.json("dead", "show", rows[0]["event"], "--body")
    assert (shown["id"], json.loads(shown["body"])["session"]["status"]) == (rows[0]["id"], "active")
    assert "broken" in cli("dead", "show", rows[0]["id"])[1]

    assert cli.json("dead", "retry", "--handler", "h")["done"] is False
    assert len(cli.json("dead", "list")) == 3, "a plan changes nothing"
    assert cli.json("dead", "discard", rows[0]["id"])["result"] == {"discarded": 1}
    told = cli.json("dead", "retry", "--handler", "h", "--since", "1h ago", "--yes")
    assert told["result"] == {"put": 2, "open": 0, "gone": 0, "full": 0}
    assert cli.json("dead", "list") == []
    assert cli.json("handlers", "list")[0]["open"] == 2


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        ("dead retry", 2, "--handler"),
        ("dead retry 0-1-1", 2, "dead list"),
        ("dead list --handler nobody", 2, "there are: h"),
        ("dead list --since yesterday", 2, "2h ago"),
        ("handlers pause nobody", 2, "there are: h"),
        ("handlers rename h Bad_Name", 2, "lower case"),
        ("handlers replay h", 2, "--from"),
        ("handlers replay h --continue", 1, "begin one with --from"),
        ("handlers replay h --from 2020-01-01", 2, "RFC 3339|2026-"),
        ("handlers run h --event 0-1-1", 2, "--load"),
        ("handlers check nowhere.py", 1, "no such file"),
    ],
)
def test_what_cannot_be_done_ends_with_one_line_that_says_what_to_do(cli, words, code, says):
    ended, _, err = cli(*words.split())
    assert ended == code
    assert any(part in err for part in says.split("|")), err


def test_a_handler_is_paused_resumed_renamed_and_retired(cli):
    assert cli.json("handlers", "pause", "h", "--reason", "mail")["state"] == "paused"
    assert cli.json("handlers", "list")[0]["paused"]["reason"] == "mail"
    assert "paused since" in cli("handlers", "list")[1]
    assert cli.json("handlers", "resume", "h")["changed"] is True
    assert cli.json("handlers", "rename", "h", "k")["done"] is False
    assert cli.json("handlers", "rename", "h", "k", "--yes")["plan"]["dead"] == 3
    assert [row["name"] for row in cli.json("handlers", "list")] == ["k"]
    code, out, _ = cli("handlers", "retire", "k")
    assert (code, "3 dead" in out) == (0, True)
    assert cli.json("handlers", "retire", "k", "--yes")["done"] is True
    assert cli.json("handlers", "list") == []


def test_a_replay_shows_its_plan_and_what_would_be_called(cli, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(FILE)
    plan = cli.json("handlers", "replay", "h", "--from", "-1h", "--key", "session:0")
    assert (plan["plan"]["count"], plan["done"]) == (2, False)
    rows = cli.json("handlers", "replay", "h", "--from", "-1h", "--dry-run", "--load", str(file))
    assert sorted((row["outcome"], row["would_do_once"]) for row in rows) == [
        ("ended", ["mail"]), ("ended", ["mail"]), ("ended", ["mail"]), ("skipped", []),
    ]  # fmt: skip
    assert cli.json("handlers", "list")[0]["open"] == 0
    done = cli.json("handlers", "replay", "h", "--from", "-1h", "--yes")
    assert done["result"] == {"put": 4, "open": 0, "waiting": 0}
    assert cli.json("handlers", "list")[0]["open"] == 4


def test_a_handler_runs_on_an_event_or_a_file_and_is_dry_unless_told(cli, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(FILE)
    body = tmp_path / "body.json"
    body.write_text('{"notification": "never.seen", "n": 1}')
    trial = cli.json("handlers", "run", "h", "--load", str(file), "--event", str(body))
    assert (trial["outcome"], trial["would_do_once"], trial["type"]) == ("ended", ["mail"], "never.seen")
    event_id = cli.json("dead", "list")[0]["event"]
    assert cli.json("handlers", "run", "h", "--load", str(file), "--event", event_id)["event"] == event_id
    code, _, err = cli("handlers", "run", "h", "--load", str(file), "--event", str(body), "--for-real")
    assert (code, "AWR_TENANT_URL" in err) == (2, True)


def test_a_run_for_real_is_written_down(cli, tmp_path, monkeypatch):
    file = tmp_path / "mine.py"
    file.write_text(FILE)
    monkeypatch.setenv("AWR_TENANT_URL", "https://tenant.invalid")
    monkeypatch.setenv("AWR_API_TOKEN", "a-token-of-this-test")
    event_id = cli.json("dead", "list")[0]["event"]
    words = ("handlers", "run", "h", "--load", str(file), "--event", event_id)
    assert cli(*words)[0] == 0
    assert cli.json("audit", "list") == []
    assert cli(*words, "--for-real")[0] == 0
    (act,) = cli.json("audit", "list")
    assert (act["what"], act["plan"]) == ("handlers run --for-real", {"handler": "h", "event": event_id})


@pytest.mark.parametrize(
    "words",
    [("run", "h", "--event", "BODY"), ("replay", "h", "--from", "-1h", "--dry-run")],
    ids=["run", "replay"],
)
def test_a_handler_that_does_not_look_is_not_run_dry_unless_trusted(cli, tmp_path, words):
    """What it does by itself could not be stopped."""
    file, wrote = tmp_path / "mine.py", tmp_path / "wrote"
    act = f"__import__('pathlib').Path({str(wrote)!r}).touch()\n    await ctx.once"
    file.write_text(FILE.replace(", dry_run=True", "").replace("await ctx.once", act))
    body = tmp_path / "body.json"
    body.write_text('{"notification": "never.seen", "n": 1}')
    asked = ["handlers", *(str(body) if word == "BODY" else word for word in words), "--load", str(file)]
    code, _, err = cli(*asked)
    assert code == 1
    assert "h does not declare dry_run=True" in err
    assert "--trust-handler" in err
    assert not wrote.exists()
    code, out, _ = cli(*asked, "--trust-handler")
    assert "would do: mail" in out
    assert wrote.exists()


def test_a_new_handler_can_be_checked_and_its_test_passes(cli, tmp_path):
    code, out, err = cli("handlers", "new", "acme.mail", "--folder", str(tmp_path))
    assert code == 0, err
    file, test = map(Path, out.split())
    (found,) = cli.json("handlers", "check", str(file))["handlers"]
    assert (found["name"], found["order"]) == ("acme.mail", "entity")
    assert cli("handlers", "new", "acme.mail", "--folder", str(tmp_path))[0] == 1
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(test)],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout
    file.write_text("import nothing_like_this")
    assert cli("handlers", "check", str(file))[0] == 1


def test_moments_are_read_as_people_write_them():
    assert moment_ms("2026-11-24T00:00:00Z", now_ms=0) == 1795478400000
    assert moment_ms("2h ago", now_ms=10_000_000) == moment_ms("-2h", now_ms=10_000_000) == 2_800_000
    for text in ("2026-11-24T00:00:00", "soon", ""):
        with pytest.raises(ValueError, match="not a time"):
            moment_ms(text, now_ms=0)
