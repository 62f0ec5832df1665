"""The audit: every change by hand leaves one entry and one log line, before it is made; plans leave none."""

from __future__ import annotations

import asyncio
import inspect
import os
import pwd
import signal
import socket
import sys
from typing import Any

import pytest

from eventlog import audit
from eventlog.audit import Act, newest, unlogged, write
from eventlog.errors import ChangeRefused
from eventlog.log import EventLog, Unreadable
from eventlog.operation import replay as replaying
from eventlog.operation import selection as selecting
from handlers import Context, Event, GiveUp, Raw, Retry, handler
from tests.cli import Cli
from tests.command_arguments import commands
from tests.door import door
from tests.harness import declaration, drained, event, on_log

USER = pwd.getpwuid(os.getuid()).pw_name


def of(what: str, **plan: Any) -> Act:
    return Act("erika", "pod-1", "cli", what, plan, 1)


class Site:
    """A log with something of everything that can be acted on."""

    def __init__(self, url: str, prefix: str) -> None:
        self.url, self.prefix = url, prefix

    def on_log(self, work: Any) -> Any:
        return on_log(self.url, self.prefix, work)

    async def fill(self, log: EventLog) -> None:
        @handler("h", on=["*"])
        async def h(event: Event[Raw], ctx: Context) -> None:
            match event.payload.data["n"]:
                case 1:
                    raise GiveUp("no such thing")
                case 2:
                    raise Retry("not there yet", after_s=900)

        await log.claim("", "")
        await log.declare([declaration(h)])
        await log.append([event(key=f"session:{n}", n=n) for n in range(3)])
        await drained(log, h)
        await log.append([Unreadable(b'{"notification": "x"}', "parser-failed", 1, "k") for _ in range(2)])


@pytest.fixture
def site(valkey, prefix) -> Site:
    site = Site(valkey.url, prefix)
    site.on_log(site.fill)
    return site


@pytest.fixture
def cli(capsys, monkeypatch, site) -> Cli:
    return Cli(capsys, monkeypatch, site.url, site.prefix)


ACTS = {
    "dead retry": ("dead retry --handler h", {"handler": "h"}, 1),
    "dead discard": ("dead discard --reason gave-up", {"reason": "gave-up"}, 1),
    "quarantine retry": ("quarantine retry --reason parser-failed", {"reason": "parser-failed"}, 2),
    "quarantine discard": ("quarantine discard --reason parser-failed", {"reason": "parser-failed"}, 2),
    "events hurry": ("events hurry session:2", {"of": "session:2"}, 1),
    "handlers rename": ("handlers rename h h2", {"handler": "h", "to": "h2"}, 2),
    "handlers retire": ("handlers retire h", {"handler": "h"}, 2),
}


@pytest.mark.parametrize("what", ACTS)
def test_an_act_is_written_down_with_who_what_plan_and_count(cli, site, what):
    words, plan, count = ACTS[what]
    assert cli(*words.split(), "--yes")[0] == 0
    (act,) = cli.json("audit", "list")
    assert (act["user"], act["host"], act["via"]) == (USER, socket.gethostname(), "cli")
    assert act["token_id"] is None
    assert (act["what"], act["plan"], act["count"]) == (what, plan, count)
    assert act["at"].endswith("Z")
    code, out, _ = cli("audit", "list")
    assert code == 0
    assert what in out


@pytest.mark.parametrize("what", sorted(set(ACTS) - {"events hurry"}))
def test_a_plan_is_not_an_act(cli, what):
    assert cli(*ACTS[what][0].split())[0] == 0
    assert cli.json("audit", "list") == []


def test_pausing_resuming_and_replaying_are_acts(cli):
    assert cli("handlers", "pause", "h", "--reason", "wrong address")[0] == 0
    assert cli("handlers", "resume", "h")[0] == 0
    assert cli("handlers", "replay", "h", "--from", "2h ago", "--yes")[0] == 0
    replay, resume, pause = cli.json("audit", "list")
    assert (pause["what"], pause["plan"]) == ("handlers pause", {"handler": "h", "reason": "wrong address"})
    assert (resume["what"], resume["plan"], resume["count"]) == ("handlers resume", {"handler": "h"}, None)
    assert (replay["what"], replay["plan"]["handler"], replay["count"]) == ("handlers replay", "h", 3)
    assert cli.json("audit", "list", "--limit", "1", "--before", replay["id"])[0]["what"] == "handlers resume"
    assert cli.json("audit", "list", "--until", "1h ago") == []
    assert len(cli.json("audit", "list", "--since", "1h ago")) == 3
    assert cli("audit", "list", "--before", "x")[0] == 2


@pytest.mark.parametrize(
    ("failure", "exit_code"),
    [(None, 130), (ConnectionError, 3), (ChangeRefused, 1)],
    ids=["ctrl-c", "redis-away", "refused"],
)
def test_a_replay_that_stops_half_way_says_how_far_it_came_and_how_to_go_on(
    cli, site, monkeypatch, failure, exit_code
):
    monkeypatch.setattr(selecting, "_GIVES", 1)
    put_again, calls = replaying.reopen, 0

    async def broken(log: EventLog, handler: str, lane: int, batch: Any, **options: Any) -> Any:
        nonlocal calls
        calls += bool(batch)
        if calls == 2:
            if failure is None:
                signal.raise_signal(signal.SIGINT)
                await asyncio.sleep(5)
            raise failure("it stops here")
        return await put_again(log, handler, lane, batch, **options)

    with monkeypatch.context() as patch:
        patch.setattr(replaying, "reopen", broken)
        code, _, err = cli("handlers", "replay", "h", "--from", "2h ago", "--yes")
    assert code == exit_code
    if failure is not ChangeRefused:  # whose text is this test's own
        assert err.startswith("not finished; `handlers replay h --continue` goes on\n")
    (act,) = cli.json("audit", "list")
    assert (act["what"], act["count"], act["done"]) == ("handlers replay", 3, 1)
    assert "  1 of 3  " in cli("audit", "list")[1]
    assert cli.json("handlers", "replay", "h", "--continue")["result"]["put"] == 1
    rest, first = cli.json("audit", "list")
    assert (rest["plan"]["continue"], rest["count"], rest["done"]) == (True, None, 1)
    assert first["done"] == 1


def test_a_replay_that_is_refused_before_it_changes_anything_is_no_act(cli, site):
    async def begun(log: EventLog) -> None:
        await replaying.begin(log, selecting.Selection("h", 0, 1, ("*",)), now_ms=1)

    site.on_log(begun)
    assert cli("handlers", "replay", "h", "--from", "2h ago", "--yes")[0] == 1
    assert cli.json("audit", "list") == []


def test_counts_go_with_their_acts(site, monkeypatch):
    monkeypatch.setattr(audit, "MOST_ACTS", 3)

    async def check(log: EventLog) -> None:
        for number in range(9):
            await write(log, of(f"act {number}"), is_counted=number % 2 == 0)
        assert [(act.what, act.done) for act in await newest(log, limit=9)] == [
            ("act 8", 0), ("act 7", None), ("act 6", 0),
        ]  # fmt: skip
        assert await log.redis.hlen(log.key("audit:done")) == 2

    site.on_log(check)


def test_every_command_that_wants_a_yes_writes_down_what_it_does():
    asking = [
        (path, sys.modules[command.callback.__module__])
        for path, command in commands()
        if command.callback is not None and any("--yes" in parameter.opts for parameter in command.params)
    ]
    assert len(asking) >= len(ACTS)
    assert [path for path, module in asking if "acting(" not in inspect.getsource(module)] == []


def test_what_is_refused_is_no_act(cli):
    assert cli("handlers", "pause", "nobody")[0] == 2
    assert cli("dead", "retry", "h/1-1")[0] == 2
    assert cli.json("audit", "list") == []


def test_what_is_kept_is_bounded(site, monkeypatch):
    monkeypatch.setattr(audit, "MOST_ACTS", 5)

    async def check(log: EventLog) -> None:
        for number in range(7):
            await write(log, of("x" * 1_000, text="y" * 10_000, ids=[str(number)] * 1_000, none=None))
        acts = await newest(log, limit=100)
        assert len(acts) == 5
        assert len(acts[0].what) == 200
        assert len(acts[0].plan["text"]) == 200
        assert acts[0].plan["ids"] == ["6"] * 19 + ["and 981 more"]
        assert "none" not in acts[0].plan

    site.on_log(check)


def test_each_act_is_told_once_however_many_processes_ask(site):
    async def check(log: EventLog) -> None:
        for number in range(60):
            await write(log, of(f"act {number}"))
        logged = [await unlogged(log) for _ in range(3)]
        assert [len(some) for some in logged] == [50, 10, 0]
        assert [act.what for some in logged for act in some] == [f"act {number}" for number in range(60)]
        await write(log, of("one more"))
        assert [act.what for act in await unlogged(log)] == ["one more"]

    site.on_log(check)


def test_a_running_receiver_logs_an_act(cli, site):
    with door(site.url, site.prefix) as front:
        assert cli("handlers", "pause", "h")[0] == 0
        line = front.line("operator.acted")
        assert (line["user"], line["what"], line["plan"]) == (USER, "handlers pause", {"handler": "h"})
        site.on_log(
            lambda log: write(log, Act("erika", "::1", "console", "dead retry", {}, token="1a2b3c4d"))
        )
        assert front.line("operator.acted")["token_id"] == "1a2b3c4d"


def test_what_lies_in_redis_cannot_harm_the_terminal(cli, site):
    async def put(log: EventLog) -> None:
        await write(log, of("\x1b[2J", evil="\x1b]0;t\x07"))
        for text in (
            b"",
            b"[",
            b'{"v":2}',
            b'{"v":1,"user":{},"host":1,"via":[],"what":null,"plan":7,"count":"x"}',
        ):
            await log.redis.xadd(log.key("audit"), {"d": text})

    site.on_log(put)
    code, out, _ = cli("audit", "list")
    assert code == 0
    assert "\x1b" not in out
    assert len(cli.json("audit", "list")) == 5


def test_redis_away_is_exit_code_3(cli, monkeypatch):
    monkeypatch.setenv("AWR_REDIS_URL", "unix:///missing.sock")
    assert cli("audit", "list")[0] == 3
