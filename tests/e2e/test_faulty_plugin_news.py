"""A worker with a plugin that cannot be loaded tells the handlers that want to know."""

from __future__ import annotations

import json
from pathlib import Path

from eventlog.connection.embedded import EmbeddedServer
from tests.harness import soon, worker

NEWS = """
import json, os
from handlers import Context, Event, handler
from handlers.internal import HandlerFaulty

@handler("recorder", start="oldest")
async def record(event: Event[HandlerFaulty], ctx: Context) -> None:
    with open(os.environ["RECORD_TO"], "a") as file:
        file.write(json.dumps([event.kind, event.payload.source, event.payload.error]) + "\\n")
"""

OLD = """
from handlers.promise import deprecate
for _ in range(2):
    deprecate("old_name", since="1.1", removed_in="2.0", instead="new_name")
"""


def test_a_faulty_plugin_is_announced(valkey: EmbeddedServer, prefix: str, tmp_path: Path) -> None:
    record, news, broken = (tmp_path / name for name in ("record.jsonl", "news.py", "broken.py"))
    news.write_text(NEWS)
    broken.write_text(OLD + "import nowhere_to_be_found")
    with worker(valkey.url, prefix, [news, broken], {"RECORD_TO": str(record)}, tmp_path / "log"):
        soon(record.exists)
        soon(lambda: record.read_text().endswith("\n"))
    (line,) = record.read_text().splitlines()
    kind, source, error = json.loads(line)
    assert (kind, source) == ("internal", str(broken))
    assert "nowhere_to_be_found" in error
    lines = [line for line in (tmp_path / "log").read_text().splitlines() if "plugin.deprecated" in line]
    assert len(lines) == 1
    assert "broken.py:4: old_name is deprecated" in lines[0]
