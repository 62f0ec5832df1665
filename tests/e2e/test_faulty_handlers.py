"""A handler that cannot be made ready is shown as faulty and tried again, while the others of its worker run."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path

import pytest

from eventlog.connection.embedded import EmbeddedServer
from eventlog.handler_faults import faulty_by_name
from eventlog.presence import present
from tests.cli import Cli
from tests.e2e.process_tree import started
from tests.e2e.test_queues import Scene, _lines, _started
from tests.harness import event, position, soon

HANDLERS = """
import asyncio, contextlib, json, os, pathlib
from handlers import Context, Event, Raw, handler
from handlers.internal import HandlerFaulty
from pydantic_settings import BaseSettings

FOLDER = pathlib.Path(os.environ["FOLDER"])

class Settings(BaseSettings, env_prefix="NEEDY_"):
    token: str

@contextlib.asynccontextmanager
async def flaky():
    with open(FOLDER / "database") as database:  # refused until it is there
        yield database.read()

@contextlib.asynccontextmanager
async def hanging():
    await asyncio.Event().wait()
    yield

@handler("needy", on=["t"], settings=Settings)
async def needy(event: Event[Raw], ctx: Context) -> None: ...

@handler("flaky", on=["t"], lifespan=flaky)
async def waits_for_its_database(event: Event[Raw], ctx: Context) -> None:
    (FOLDER / "handled").write_text(ctx.state)

@handler("forked", on=["f"], isolation="process", lifespan=flaky)
async def runs_in_a_fork(event: Event[Raw], ctx: Context) -> None:
    (FOLDER / "forked").write_text(ctx.state)

@handler("hanging", on=["t"], lifespan=hanging)
async def hangs(event: Event[Raw], ctx: Context) -> None: ...

@handler("fine", on=["t"])
async def fine(event: Event[Raw], ctx: Context) -> None: ...

@handler("news", start="oldest")
async def news(event: Event[HandlerFaulty], ctx: Context) -> None:
    with open(FOLDER / "news", "a") as file:
        file.write(json.dumps([event.payload.source, event.payload.error]) + "\\n")
"""
NAMES = ("needy", "flaky", "hanging", "fine", "news")
TWIN = """
from handlers import Context, Event, Raw, handler

@handler("fine", on=["t"])
async def fine(event: Event[Raw], ctx: Context) -> None: ...
"""


@pytest.fixture
def scene(valkey: EmbeddedServer, prefix: str, tmp_path: Path) -> Scene:
    scene = Scene(valkey, prefix, tmp_path)
    scene.file.write_text(HANDLERS)
    return scene


def test_a_faulty_handler_is_shown_and_served_as_soon_as_it_can_be(
    scene: Scene, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    environ = {"AWR_HANDLERS_ALLOW": ",".join(NAMES), "FOLDER": str(tmp_path)}
    cli = Cli(capsys, monkeypatch, scene.server.url, scene.prefix)
    with scene.worker("default", **environ) as command:
        _started(command)
        assert _lines(command, "worker.started")[0]["handlers"] == ["fine", "news"]
        scene.in_log(lambda log: log.append([event("t", "session:1")]))
        soon(lambda: scene.done("fine") == 1)
        soon(lambda: len(scene.health()[1].get("faulty", ())) == 2)

        status, health = scene.health()
        needy, flaky = sorted(health["faulty"], key=lambda each: each["name"], reverse=True)
        assert (status, health["reasons"]) == (200, []), "the others run"
        assert (needy["name"], needy["reason"], needy["next_try_at"]) == ("needy", "settings-missing", None)
        assert "NEEDY_TOKEN is not set" in needy["error"]
        assert (flaky["name"], flaky["reason"]) == ("flaky", "lifespan-failed")
        assert flaky["error"] == "FileNotFoundError"
        assert (
            f"{scene.file}:{1 + HANDLERS[: HANDLERS.index('with open')].count(chr(10))} in flaky"
            in flaky["where"]
        )
        assert flaky["next_try_at"] is not None

        rows = {row["name"]: row for row in cli.json("handlers", "list")}
        assert [rows[name]["state"] for name in ("needy", "flaky", "hanging", "fine")] == [
            "faulty", "faulty", "gone", "running",
        ]  # fmt: skip
        assert rows["flaky"]["faulty"]["reason"] == "lifespan-failed"
        assert rows["flaky"]["waiting"] == 1, "its events wait for it"
        assert "lifespan-failed: FileNotFoundError" in cli("handlers", "list")[1]
        assert any("flaky is faulty since" in line for line in cli.json("status")["needs_attention"])
        assert "faulty: flaky: lifespan-failed: FileNotFoundError at" in cli("doctor")[1]
        assert "no worker can run this handler" in cli("explain", "session:1")[1]
        shown = urllib.request.urlopen(f"http://127.0.0.1:{scene.admin_port}/metrics").read().decode()
        assert 'awr_handler_faulty{handler="flaky"} 1.0' in shown
        assert 'awr_handler_faulty{handler="fine"} 0.0' in shown

        (tmp_path / "database").write_text("rows")
        soon(lambda: (tmp_path / "handled").exists())
        assert (tmp_path / "handled").read_text() == "rows"
        soon(lambda: [each["name"] for each in scene.health()[1]["faulty"]] == ["needy"])
        assert _lines(command, "handler.served")[0]["handler"] == "flaky"
        assert len(_lines(command, "handler.faulty")) == 2, "one line for each fault, not for each try"
        soon(lambda: len((tmp_path / "news").read_text().splitlines()) == 2)
        announced = dict(json.loads(line) for line in (tmp_path / "news").read_text().splitlines())
        assert set(announced) == {"needy", "flaky"}
        assert scene.in_log(lambda log: position(log, "flaky")).served_ms > 0
        command.ask_to_end()
        assert command.ends() == 0


def test_a_worker_whose_handlers_are_all_faulty_is_not_ready(scene: Scene, tmp_path: Path):
    environ = {"AWR_HANDLERS_ALLOW": "flaky", "FOLDER": str(tmp_path)}
    with scene.worker("default", **environ) as command:
        _started(command)
        soon(lambda: scene.health()[0] == 503 and scene.health()[1]["reasons"] == ["no-handlers"])
        (tmp_path / "database").write_text("rows")
        soon(lambda: scene.health()[0] == 200)


def test_forks_tell_each_other_of_a_lifespan_that_fails(scene: Scene, tmp_path: Path):
    environ = {"AWR_HANDLERS_ALLOW": "forked,fine,news", "FOLDER": str(tmp_path)}
    with scene.worker("default", **environ) as command:
        command.says(r'"queue": "default.isolated".*worker.started|worker.started.*default.isolated')
        scene.in_log(lambda log: log.append([event("f", "session:1")]))
        soon(lambda: len(_lines(command, "handler.faulty")) == 1)

        def tried_again() -> bool:
            found = faulty_by_name(scene.in_log(present)).get("forked")
            return found is not None and (found.fault.next_ms or 0) - found.fault.since_ms > 1_500

        soon(tried_again)
        (tmp_path / "database").write_text("rows")
        soon(lambda: (tmp_path / "forked").exists())
        assert len(_lines(command, "handler.faulty")) == 1, "once, not in each fork"
        soon((tmp_path / "news").exists)
        assert json.loads((tmp_path / "news").read_text())[0] == "forked"


@pytest.mark.parametrize("names", ["fine", "flaky,fine"], ids=["clash", "lifespan"])
def test_a_strict_start_is_refused_with_one_line(scene: Scene, tmp_path: Path, names: str):
    loads = ["--load", str(scene.file)]
    if names == "fine":
        (tmp_path / "twin.py").write_text(TWIN)
        loads += ["--load", str(tmp_path / "twin.py")]
    settings = {
        "AWR_REDIS_URL": scene.server.url,
        "AWR_KEY_PREFIX": scene.prefix,
        "AWR_LANES": "4",
        "AWR_REGISTER": "off",
        "AWR_ADMIN_PORT": "0",
        "AWR_PLUGINS_STRICT": "1",
        "AWR_HANDLERS_ALLOW": names,
        "FOLDER": str(tmp_path),
    }
    with started("worker", *loads, tmp=tmp_path, **settings) as command:
        assert command.ends() == 2
    (line,) = (line for line in command.stderr.splitlines() if "fine" in line or "flaky" in line)
    assert line.startswith("ampeco-receiver: ")
    assert ("names are identities" in line) == (names == "fine")
