"""A worker takes up another API token from its file, as the runbook says: no restart, and the old one may go."""

from __future__ import annotations

from pathlib import Path

from ampeco.signature import SigningKey
from ampeco.simulator.testing import tenant_in_a_box
from eventlog.connection.embedded import EmbeddedServer
from eventlog.log import EventLog
from tests.e2e.pods import mount_secrets
from tests.harness import event, on_log, position, soon, worker

OLD, NEW = "token-of-the-workers", "the-next-token-of-the-workers"
HANDLERS = """
from handlers import Context, Event, Raw, handler

@handler("reader", on=["*"], start="oldest")
async def reader(event: Event[Raw], ctx: Context) -> None:
    await ctx.ampeco.notifications.list()
"""


def test_a_worker_calls_ampeco_with_the_token_that_its_file_has_now(
    valkey: EmbeddedServer, prefix: str, tmp_path: Path
) -> None:
    file, lines = tmp_path / "reader.py", tmp_path / "worker.log"
    file.write_text(HANDLERS)
    secrets = mount_secrets(tmp_path / "secrets", {"AWR_API_TOKEN": OLD})

    def handled(number: int) -> None:
        async def one_more(log: EventLog) -> None:
            await log.append([event("t", f"session:{number}")])

        async def done(log: EventLog) -> bool:
            found = await position(log, "reader")
            assert not found.dead
            return found.stats.get("done") == number

        on_log(valkey.url, prefix, one_more)
        soon(lambda: on_log(valkey.url, prefix, done), every_s=0.2)

    with tenant_in_a_box(token=OLD) as box:
        environ = {
            "AWR_TENANT_URL": box.url,
            "AWR_SECRETS_DIR": str(secrets),
            "AWR_HANDLERS_ALLOW": "reader",
        }
        with worker(valkey.url, prefix, [file], environ, lines):
            soon(lambda: b"worker.started" in lines.read_bytes())
            handled(1)
            box.add_token(NEW)
            mount_secrets(secrets, {"AWR_API_TOKEN": NEW}, day="2026_11_30")
            soon(lambda: b"api_token.changed" in lines.read_bytes())
            box.remove_token(SigningKey.of(OLD).key_id)
            handled(2)
    for token in (OLD, NEW):
        assert token not in lines.read_text()
