"""A task that a handler starts may raise what ends a process: the worker goes on, and the neighbours begin once."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from eventlog.connection.embedded import EmbeddedServer
from eventlog.operation.dead_letters import DeadFilter, matching
from handlers.discovery import discover
from tests.harness import declaration, event, eventually, opened, worker

HANDLERS = """
import asyncio, os
from handlers import Context, Event, Raw, handler

async def leaves():
    raise {"exit": SystemExit, "interrupt": KeyboardInterrupt}[os.environ["LEAVES"]]

@handler("recorder", on=["*"], start="oldest", max_attempts=1)
async def recorder(event: Event[Raw], ctx: Context) -> None:
    with open(os.environ["REC_OUT"], "a") as out:
        out.write(event.key + "\\n")
    if event.key == "session:odd":
        async with asyncio.TaskGroup() as group:
            group.create_task(leaves())
    await asyncio.sleep(0.3)
"""


@pytest.mark.parametrize("leaves", ["exit", "interrupt"])
def test_an_exit_in_a_task_of_a_handler_ends_its_event_alone(
    valkey: EmbeddedServer, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, leaves: str
) -> None:
    out, file = tmp_path / "out", tmp_path / "odd.py"
    file.write_text(HANDLERS)
    environ = {"REC_OUT": str(out), "LEAVES": leaves}
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    (found,) = (item for item in discover(load=[str(file)]).found if item.handler.name == "recorder")

    async def check() -> None:
        async with opened(valkey.url, prefix) as log:
            await log.declare([declaration(found.handler, version=found.version)])
            keys = ["session:odd", *(f"session:{n}" for n in range(8))]
            await log.append([event("t", key) for key in keys])
            with worker(valkey.url, prefix, [file], environ, tmp_path / "log"):

                async def settled() -> bool:
                    (position,) = await log.handlers()
                    return position.stats.get("done", 0) == 8 and position.dead == 1

                await eventually(settled, within_s=60)
            assert sorted(out.read_text().split()) == sorted(keys)
            (letter,) = await matching(log, DeadFilter())
            assert letter.letter.reason == "attempts-exhausted"
            assert (
                letter.letter.record.last_error
                == {"exit": "SystemExit", "interrupt": "KeyboardInterrupt"}[leaves]
            )

    asyncio.run(check())
    assert any(
        json.loads(line)["event"] == "worker.exit_ignored"
        for line in (tmp_path / "log").read_text().splitlines()
    )
