"""The commands over events: what they print, what they keep to themselves, and how they end."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from typing import NamedTuple

import pytest

from eventlog.clock import now_ms
from eventlog.log import Unreadable
from eventlog.retention import Keep, keep
from handlers import Context, Event, GiveUp, Raw, Retry, handler
from tests.cli import Cli
from tests.harness import declaration, drained, event, eventually, opened

A, B = "SessionUpdateNotification", "never.seen"


class Stored(NamedTuple):
    """Ids of what lies in a log: three events that were handled or not, one parked, one in quarantine."""

    url: str
    prefix: str
    done: str
    dead: str
    retried: str
    parked: str
    quarantined: str

    @property
    def environ(self) -> dict[str, str]:
        return {**os.environ, "AWR_REDIS_URL": self.url, "AWR_KEY_PREFIX": self.prefix}

    async def append(self, type: str) -> str:
        async with opened(self.url, self.prefix) as log:
            return (await log.append([event(type, n=9)])).answers[0].event_id or ""


@pytest.fixture
def stored(valkey, prefix) -> Stored:
    @handler("h", on=["*"])
    async def h(event: Event[Raw], ctx: Context) -> None:
        match event.payload.data["n"]:
            case 1:
                raise GiveUp("no such thing")
            case 2:
                raise Retry("not there yet", after_s=900)

    async def fill() -> Stored:
        async with opened(valkey.url, prefix) as log:
            await log.claim("", "")
            await log.declare([declaration(h), declaration(h, name="picky", types=(B,))])
            answers = (await log.append([event(n=n, secret="Erika Mustermann") for n in range(4)])).answers
            await drained(log, h)
            answers += (await log.append([Unreadable(b"??", "not-json", now_ms(), "")])).answers
            await keep(log, Keep())
            return Stored(valkey.url, prefix, *(answer.event_id or "" for answer in answers))

    return asyncio.run(fill())


@pytest.fixture
def cli(capsys, monkeypatch, stored) -> Cli:
    return Cli(capsys, monkeypatch, stored.url, stored.prefix)


def test_explain_speaks_to_people_and_to_programs(cli, stored):
    for asked, words in (
        (stored.done, ("session:1", "key 00000000", "h: done at", "picky: not wanted")),
        (stored.dead, ("h: dead since", "gave-up no such thing", "dead show h/")),
        (stored.retried, ("h: tried again at", "not there yet", "attempts so far: 1")),
        (stored.parked, (f"h: parked behind {stored.retried}, which is tried again at",)),
        ("session:1", ("4 kept events", stored.done, stored.parked, "h: parked behind")),
        (stored.quarantined, ("is in quarantine: not-json", "events show")),
    ):
        code, out, _ = cli("explain", asked)
        assert code == 0
        assert all(word in out for word in words), out
        assert "Mustermann" not in out
    document = cli.json("explain", stored.parked)
    (shown,) = document["events"]
    told = [(one["handler"], one["state"]) for one in shown["handlers"]]
    assert told == [("h", "parked"), ("picky", "not-wanted")]
    assert shown["handlers"][0]["behind"] == stored.retried
    assert document["log"]["bytes"] > 0
    assert "session.energy" in document["misfits"]
    assert "misfits      session.chargePointId, session.evseId" in cli("explain", stored.done)[1]
    assert len(cli.json("explain", stored.done, "--handler", "h")["events"][0]["handlers"]) == 1


def test_explain_and_show_say_why_an_event_may_be_a_repetition(cli, stored):
    first, again = (asyncio.run(stored.append("twice")) for _ in range(2))
    why = "an equal body came before, and no time in it tells the two apart"
    assert f"it may be a repetition: {why}; that was {first}" in cli("explain", again)[1]
    assert cli.json("explain", again)["events"][0]["repeats"] == first
    assert "repetition" not in cli("explain", first)[1]
    assert f"(may be a repetition: no-own-time, of {first})" in cli("explain", "session:1")[1]
    assert cli.json("explain", again)["events"][0]["maybe_repeat"] == "no-own-time"
    assert cli.json("explain", first)["events"][0]["maybe_repeat"] is None
    assert f"maybe_repeat: {why}" in cli("events", "show", again)[1]
    assert cli.json("events", "show", again)["maybe_repeat"] == "no-own-time"
    assert cli.json("events", "show", first)["maybe_repeat"] is None


def test_explain_says_more_than_not_found(cli, stored):
    code, out, _ = cli("explain", "session:99")
    assert code == 1
    for words in (
        "no trace of session:99",
        "h wants *",
        "picky wants never.seen",
        "keeps no event",
        "subscription",
    ):
        assert words in out
    code, out, _ = cli("explain", "99-1-1")
    assert (code, "its lanes are 0 to 3" in out) == (1, True)
    lane = stored.done.partition("-")[0]
    code, out, _ = cli("explain", f"{lane}-1-1")
    assert (code, "keeps events since" in out) == (1, True)
    code, _, err = cli("explain", "nonsense")
    assert (code, "neither the id of an event" in err) == (2, True)
    code, _, err = cli("explain", stored.done, "--handler", "nobody")
    assert (code, "there are: h, picky" in err) == (2, True)


def test_show_gives_the_shape_and_the_body_only_when_asked_for_it(cli, stored):
    _, out, _ = cli("events", "show", stored.done)
    assert "secret  text" in out
    assert "session.id  text" in out
    assert "Mustermann" not in out
    _, out, _ = cli("events", "show", stored.done, "--body")
    assert json.loads(out)["secret"] == "Erika Mustermann"
    document = cli.json("events", "show", stored.done)
    assert document["shape"]["n"] == "number"
    assert "body" not in document
    assert "Mustermann" in cli.json("events", "show", stored.done, "--body")["body"]
    assert "not JSON" in cli("events", "show", stored.quarantined)[1]
    assert cli("events", "show", stored.quarantined, "--body")[1] == "??"
    code, _, err = cli("events", "show", "1-17-0")
    assert (code, "explain 1-17-0" in err) == (2, True)


def test_list_says_how_far_back_the_log_goes_and_what_it_takes(cli, stored):
    _, out, err = cli("events", "list")
    assert len(out.splitlines()) == 1 + 4
    assert "oldest kept event 20" in err
    assert "of 1,073,741,824 bytes" in err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_tail_shows_what_arrives_until_it_is_told_to_stop(stored, number):
    with subprocess.Popen(
        [sys.executable, "-m", "commands", "events", "tail", "--json", "--type", A, "--lines", "2"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=stored.environ,
    ) as tailing:
        assert tailing.stdout is not None
        assert tailing.stderr is not None
        shown = [json.loads(tailing.stdout.readline())["id"] for _ in range(2)]
        assert shown == [stored.retried, stored.parked]
        asyncio.run(stored.append(B))
        arrived = asyncio.run(stored.append(A))
        line = json.loads(tailing.stdout.readline())
        assert (line["id"], line["key"]) == (arrived, "session:1")
        assert "body" not in line
        tailing.send_signal(number)
        assert tailing.wait(10) == 0
        assert tailing.stderr.read() == ""


def test_tail_ends_quietly_when_nobody_reads_any_more(stored):
    with subprocess.Popen(
        [sys.executable, "-m", "commands", "events", "tail"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=stored.environ,
    ) as tailing:
        assert tailing.stdout is not None
        assert tailing.stderr is not None
        assert stored.done.encode() in tailing.stdout.readline()
        tailing.stdout.close()

        async def has_ended() -> bool:
            await stored.append(A)
            return tailing.poll() is not None

        asyncio.run(eventually(has_ended, every_s=0.1))
        assert (tailing.returncode, tailing.stderr.read()) == (0, b"")


def test_tail_can_show_the_past_alone(cli, stored):
    _, out, _ = cli("events", "tail", "--no-follow", "--lines", "3", "--key", "session:1")
    assert [line.split()[0] for line in out.splitlines()] == [stored.dead, stored.retried, stored.parked]
