"""Queues by deployment: `AWR_QUEUE_OF` moves a handler to another queue, and what no worker serves is said."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from commands.demo_stack import free_port
from eventlog.connection.embedded import EmbeddedServer
from eventlog.log import EventLog
from tests.cli import Cli
from tests.e2e.process_tree import Command, started
from tests.harness import event, on_log, position, soon

HANDLERS = """
from handlers import Context, Event, Raw, handler

@handler("mail", on=["mail"], start="oldest")
async def mail(event: Event[Raw], ctx: Context) -> None: ...

@handler("other", on=["other"], start="oldest", queue="bulk")
async def other(event: Event[Raw], ctx: Context) -> None: ...
"""


class Scene:
    def __init__(self, server: EmbeddedServer, prefix: str, folder: Path) -> None:
        self.server, self.prefix, self.folder = server, prefix, folder
        self.file = folder / "two_handlers.py"
        self.file.write_text(HANDLERS)
        self.admin_port = free_port()

    def worker(self, queue: str, **environ: str) -> Any:
        settings = {
            "AWR_REDIS_URL": self.server.url,
            "AWR_KEY_PREFIX": self.prefix,
            "AWR_LANES": "4",
            "AWR_REGISTER": "off",
            "AWR_ADMIN_PORT": str(self.admin_port),
            "AWR_HANDLERS_ALLOW": "mail,other",
            "AWR_LOG_FORMAT": "json",
            **environ,
        }
        return started("worker", "--queue", queue, "--load", str(self.file), tmp=self.folder, **settings)

    def in_log(self, work: Callable[[EventLog], Any]) -> Any:
        return on_log(self.server.url, self.prefix, work)

    def append(self, *types: str) -> None:
        self.in_log(
            lambda log: log.append([event(name, f"session:{n}", n=n) for n, name in enumerate(types)])
        )

    def done(self, name: str) -> int:
        return self.in_log(lambda log: position(log, name)).stats.get("done", 0)

    def metrics(self) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin_port}/metrics", timeout=60) as answer:
            return str(answer.read().decode())

    def health(self) -> tuple[int, dict[str, Any]]:
        url = f"http://127.0.0.1:{self.admin_port}/health/ready"
        try:
            with urllib.request.urlopen(url, timeout=60) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)
        except OSError:
            return 0, {}


@pytest.fixture
def scene(valkey: EmbeddedServer, prefix: str, tmp_path: Path) -> Scene:
    return Scene(valkey, prefix, tmp_path)


@pytest.fixture
def cli(scene: Scene, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    return Cli(capsys, monkeypatch, scene.server.url, scene.prefix)


def _lines(command: Command, named: str) -> list[dict[str, Any]]:
    lines = (line for line in (command.stdout + command.stderr).splitlines() if line.startswith("{"))
    return [line for line in map(json.loads, lines) if line["event"] == named]


def _started(command: Command) -> None:
    soon(lambda: bool(_lines(command, "worker.started")))


def test_a_worker_declares_as_running_what_it_serves_and_waits_with_the_rest(scene: Scene, cli: Cli):
    with scene.worker("default") as command:
        _started(command)
        scene.append("mail", "other")
        soon(lambda: scene.done("mail") == 1)
        shown = scene.metrics()
        assert 'awr_child_cpu_seconds_total{child="worker-1"}' in shown
        assert 'awr_worker_loop_lag_seconds{process="' in shown
        assert 'awr_handler_run_seconds_count{handler="mail"} 1.0' in shown
        by_name = {row["name"]: row for row in cli.json("handlers", "list")}
        assert by_name["mail"]["state"] == "running"
        assert by_name["other"]["state"] == "gone"
        assert by_name["other"]["served_at"] is None
        assert by_name["other"]["waiting"] == 1, "its events wait for a worker of its queue"
        assert "no worker serves queue bulk with this handler so far" in cli("explain", "session:1")[1]
        assert "not started yet: no worker serves queue bulk" in cli("handlers", "list")[1]
    with scene.worker("bulk") as command:
        _started(command)
        soon(lambda: scene.done("other") == 1)


def test_the_setting_moves_a_handler_to_another_queue(scene: Scene):
    moved = {"AWR_QUEUE_OF": "mail=letters"}
    with scene.worker("letters", **moved) as command:
        _started(command)
        assert _lines(command, "worker.started")[0]["handlers"] == ["mail"]
        scene.append("mail")
        soon(lambda: scene.done("mail") == 1)
        assert scene.in_log(lambda log: position(log, "mail")).queue == "letters"


def test_a_worker_without_handlers_says_so_and_is_not_ready(scene: Scene):
    with scene.worker("bulks") as command:
        _started(command)
        (line,) = _lines(command, "worker.no_handlers")
        assert line["queue"] == "bulks"
        assert line["queues"] == {"mail": "default", "other": "bulk"}
        soon(lambda: scene.health()[0] == 503 and scene.health()[1]["reasons"] == ["no-handlers"])
        command.ask_to_end()
        assert command.ends() == 0


def test_a_name_that_is_no_entry_stops_the_start_with_one_line(scene: Scene):
    with scene.worker("default", AWR_QUEUE_OF="mail") as command:
        assert command.ends() == 2
        assert "AWR_QUEUE_OF" in command.stderr
        assert "entry 1 is not HANDLER=QUEUE" in command.stderr
