"""What operators see of timers and states: explain, export-state, dry runs, replays, and the space that they take."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from eventlog.entity_records import fire
from eventlog.retention import Keep, keep
from eventlog.usage import standing
from tests.cli import Cli
from tests.harness import declaration, drained, event, opened

FILE = """
from typing import Any
from ampeco.notifications import SessionUpdate
from handlers import Context, Event, Timer, handler

@handler("h", entity_state=dict[str, Any], dry_run=True)
async def h(event: Event[SessionUpdate | Timer], ctx: Context) -> None:
    ctx.entity_state = {"n": (ctx.entity_state or {"n": 0})["n"] + 1}
    if isinstance(event.payload, SessionUpdate):
        ctx.later("now", 0, "personal")
        ctx.later("check", 600)
        ctx.cancel_later("old")
"""


@pytest.fixture
def cli(capsys, monkeypatch, valkey, prefix, tmp_path: Path) -> Cli:
    """A log in which two sessions have a state and two timers, of which one fell due."""
    (tmp_path / "h.py").write_text(FILE)
    namespace: dict = {}
    exec(compile(FILE, "h.py", "exec", dont_inherit=True), namespace)  # noqa: S102 - the file above
    h = namespace["h"]

    async def fill() -> None:
        async with opened(valkey.url, prefix) as log:
            await log.declare([declaration(h)])
            await log.append([event(key="session:1"), event(key="session:2")])
            await drained(log, h)
            assert await fire(log) == 2

    asyncio.run(fill())
    monkeypatch.chdir(tmp_path)
    return Cli(capsys, monkeypatch, valkey.url, prefix)


def test_explain_shows_pending_timers_and_the_size_of_the_state(cli):
    found = cli.json("explain", "session:1")
    (kept,) = found["kept"]
    now, check = kept["timers"]
    first = found["events"][0]["id"]
    assert (now["name"], now["set_by"], check["name"], check["event"]) == ("now", first, "check", None)
    assert now["event"] == found["events"][1]["id"]
    assert found["events"][1]["type"] == "receiver.timer:h"
    assert (kept["handler"], kept["state_bytes"]) == ("h", len('{"n":1}'))
    assert cli.json("explain", first)["kept"][0]["timers"] == kept["timers"]
    _, text, _ = cli("explain", first)
    assert f"h: timer 'now', set by {first}, fell due and is event {now['event']}" in text
    assert f"h: timer 'check', set by {first}, falls due at " in text
    assert "h: keeps a state of 7 bytes until " in text
    assert "personal" not in text
    assert cli("explain", "session:3")[0] == 1


def test_export_state_writes_one_document_a_line(cli):
    code, out, _ = cli("handlers", "export-state", "h")
    rows = sorted((json.loads(line) for line in out.splitlines()), key=lambda row: row["key"])
    assert code == 0
    assert [(row["key"], row["state"]) for row in rows] == [("session:1", {"n": 1}), ("session:2", {"n": 1})]
    code, _, err = cli("handlers", "export-state", "unknown")
    assert code == 2
    assert "no handler 'unknown'" in err


def test_a_dry_run_reads_what_is_kept_and_shows_what_would_change(cli):
    (first, *_) = cli.json("explain", "session:1")["events"]
    row = cli.json("handlers", "run", "h", "--event", first["id"], "--load", "h.py")
    assert row["would_set_timers"] == {"now": 0.0, "check": 600.0}
    assert (row["would_cancel_timers"], row["would_keep_state_bytes"]) == ([], len('{"n":2}'))
    _, text, _ = cli("handlers", "run", "h", "--event", first["id"], "--load", "h.py")
    assert "would set timer 'check', due 600 s later" in text
    assert json.loads(cli("handlers", "export-state", "h")[1].splitlines()[0])["state"] == {"n": 1}


def test_a_replay_leaves_timers_out_unless_their_type_is_named(cli):
    plan = cli.json("handlers", "replay", "h", "--from", "1h ago")["plan"]
    assert plan["by_type"] == {"SessionUpdateNotification": 2}
    plan = cli.json("handlers", "replay", "h", "--from", "1h ago", "--type", "receiver.timer:h")["plan"]
    assert plan["by_type"] == {"receiver.timer:h": 2}


def test_timers_and_states_count_against_the_budget(cli, valkey, prefix):
    async def check() -> None:
        async with opened(valkey.url, prefix) as log:
            for _ in range(3_000):  # a page of Redis's keys at a time
                found = await keep(log, Keep(max_bytes=64 << 20))
                if found.states > 0:
                    break
            assert 50 < found.states < 1_000
            assert 200 < found.timers < 5_000
            stored = await standing(log)
            assert stored is not None
            assert (stored.states, stored.timers) == (found.states, found.timers)
            assert stored.bytes == found.bytes

    asyncio.run(check())
