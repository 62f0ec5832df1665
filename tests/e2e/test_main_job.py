"""From a signed request to a handled event, through real processes: receiver, log, RQ worker, handler."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from eventlog.connection.embedded import EmbeddedServer
from eventlog.inspection.events import read_counts
from tests.door import door
from tests.harness import opened, position, soon, worker

SECRET = "Erika Mustermann"

WITNESS = """
import json, os
from handlers import Context, Event, Raw, handler

FILE = os.open(os.environ["RECORD_TO"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)

@handler("recorder", on=["*"])
async def witness(event: Event[Raw], ctx: Context) -> None:
    ctx.log.info("witnessed")
    if event.type == "never.heard.of" and ctx.attempt == 1:
        raise ValueError(event.payload.data["holder"])
    os.write(FILE, (json.dumps([event.type, event.key, ctx.attempt]) + "\\n").encode())
"""


def test_what_was_signed_is_handled_and_nobodys_data_is_in_any_log_line(
    valkey: EmbeddedServer, prefix: str, tmp_path: Path
) -> None:
    handlers, record, log_file = tmp_path / "witness.py", tmp_path / "record.jsonl", tmp_path / "worker.log"
    handlers.write_text(WITNESS)
    record.touch()
    bodies = {
        "SessionUpdateNotification": {"session": {"id": 4711, "status": "active", "idTag": SECRET}},
        "never.heard.of": {"holder": SECRET},
    }

    def handled() -> list[list[object]]:
        return [json.loads(line) for line in record.read_text().splitlines()]

    with worker(valkey.url, prefix, [handlers], {"RECORD_TO": str(record)}, log_file) as running:
        soon(lambda: b"worker.started" in log_file.read_bytes())
        with door(valkey.url, prefix) as front:
            for name, data in bodies.items():
                body = json.dumps({"notification": name, **data}).encode()
                assert front.post(body).status == 202
                assert front.post(body, key="a stranger's").status == 401
            assert front.post(b"not JSON, but ours: " + SECRET.encode()).status == 202
            soon(lambda: len(handled()) == 2)
            assert front.stop() == 0
        assert running.stop() == 0
    assert sorted(handled()) == [
        ["SessionUpdateNotification", "session:4711", 1],
        ["never.heard.of", None, 2],
    ]

    async def settled() -> None:
        async with opened(valkey.url, prefix) as log:
            found = await position(log, "recorder")
            assert (found.waiting, found.open, found.dead) == (0, 0, 0)
            assert (await read_counts(log)).quarantined == 1

    asyncio.run(settled())
    said = log_file.read_text() + json.dumps(front.lines)
    assert "delivery.retry_scheduled" in said
    assert "ValueError" in said
    assert SECRET not in said
