"""Tokens, passwords and what is in bodies show nowhere: lines, metrics, traces, health, errors, commands, pages.

Real processes at debug level meet every kind of trouble with bodies whose texts are markers. What they print, answer
and send to a collector is searched, and so is what each command and each page of the console says about it.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import redis

from ampeco.simulator.testing import Box, tenant_in_a_box
from commands.demo_stack import free_port
from tests.cli import Cli
from tests.collector import Collector, collector
from tests.door import Door, door
from tests.e2e.process_tree import Command, started
from tests.e2e.surfaces import ACTS, READS, Known, Reader, admin_paths, command_lines, paths_of_pages
from tests.harness import soon
from tests.servers import server

TOKEN, SIGNING = "marker-api-token", "marker-signing-key"
PASSWORD, WRONG_PASSWORD = "marker-redis-password", "marker-wrong-password"
CONSOLE, BODIES, NEXT = "marker-console-token", "marker-bodies-token", "marker-next-token"
PLUGIN = "marker-plugin-secret"
BODY = "Marker O'Body"
MARKER = re.compile(r"(?i)marker[- ].{0,40}")
TYPE = "SessionUpdateNotification"
DEAD = 4
FATES = ("fine", "raises", "returns", "calls", "once", "chained")
HANDLERS = """
from pydantic import SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from handlers import Backoff, Context, Event, Raw, handler


class Keys(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="ACME_MARKED_")
    secret: SecretStr


@handler("marked", on=["SessionUpdateNotification"], start="oldest", settings=Keys, max_attempts=2,
         backoff=Backoff(base_s=0.01, cap_s=0.01))
async def marked(event: Event[Raw], ctx: Context[Keys]) -> object:
    data = event.payload.data
    name, secret = data["driver"], ctx.settings.secret.get_secret_value()
    match data["fate"]:
        case "raises":
            raise RuntimeError(f"{name} and {secret}")
        case "returns":
            return [name, secret]
        case "calls":
            await ctx.ampeco.resources.users.read(name)
        case "once":
            await ctx.once("step", lambda: {name: secret})
            raise KeyError(name)
        case "chained":
            try:
                int(name)
            except ValueError as error:
                raise LookupError(secret) from error
"""


@dataclass
class Site:
    """Processes over a Redis with a password, and all that they printed, answered and sent."""

    url: str
    environ: dict[str, str]
    file: Path
    front: Door
    collected: Collector
    running: dict[int, Command] = field(default_factory=dict)  # by admin port

    def send(self, fate: str, n: int) -> None:
        session = {"id": f"s{n}", "status": "active"}
        body = {"notification": TYPE, "session": session, "driver": BODY, "fate": fate}
        assert self.front.post(json.dumps(body).encode(), key=SIGNING).status == 202

    def printed(self) -> str:
        lines = "\n".join(map(json.dumps, self.front.lines))
        return lines + "".join(one.stdout + one.stderr for one in self.running.values())

    def exposed(self) -> str:
        """What all admin ports answer."""
        ports = (self.front.admin_port, *self.running)
        paths = (*admin_paths(), f"/{BODY.split()[0]}", "/console/", "/")
        return "".join(f"{path}: {self._asked(port, path)!r}" for port in ports for path in paths)

    def sent(self) -> str:
        """What the collector got: spans, metrics, and the names of both."""
        return b"".join(self.collected.bodies).decode("latin-1")

    def command_lines(self) -> str:
        """What other users see of the processes."""
        pids = [self.front.process.pid, *(pid for one in self.running.values() for pid in one.running())]
        return "".join(Path(f"/proc/{pid}/cmdline").read_text() for pid in pids)

    def _asked(self, port: int, path: str) -> bytes:
        return self.front.exchange(f"GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode(), port=port).body


@pytest.fixture
def box() -> Iterator[Box]:
    with tenant_in_a_box(token=TOKEN) as made:
        yield made


@pytest.fixture
def site(box: Box, tmp_path: Path, tmp: Path, prefix: str) -> Iterator[Site]:
    redis_port = free_port()
    url = f"redis://:{PASSWORD}@127.0.0.1:{redis_port}"
    file = tmp_path / "marked.py"
    file.write_text(HANDLERS)
    options = {"port": str(redis_port), "requirepass": PASSWORD, "rdbcompression": "no"}
    environ = {
        "AWR_REDIS_URL": url,
        "AWR_KEY_PREFIX": prefix,
        "AWR_LANES": "4",
        "AWR_DURABILITY": "everysec",
        "AWR_TENANT_URL": box.url,
        "AWR_API_TOKEN": TOKEN,
        "AWR_SIGNING_KEYS": SIGNING,
        "AWR_PUBLIC_URL": "https://us.example",
        "AWR_REGISTER": "auto",
        "AWR_LOG_LEVEL": "debug",
        "AWR_LOG_FORMAT": "json",
        "AWR_CONSOLE_TOKEN": CONSOLE,
        "AWR_CONSOLE_BODIES_TOKEN": BODIES,
        "AWR_HANDLERS_ALLOW": "marked",
        "ACME_MARKED_SECRET": PLUGIN,
    }
    with contextlib.ExitStack() as stack:
        stack.enter_context(server(tmp_path, wait=False, **options))
        soon(lambda: _up(url))
        collected = stack.enter_context(collector())
        traced = {
            **environ,
            "OTEL_EXPORTER_OTLP_ENDPOINT": collected.url,
            "OTEL_EXPORTER_OTLP_HEADERS": "authorization=marker-collector-key",
            "OTEL_BSP_SCHEDULE_DELAY": "50",
            "OTEL_METRICS_EXPORTER": "otlp",
            "OTEL_METRIC_EXPORT_INTERVAL": "100",
        }
        front = stack.enter_context(door(url, prefix, traced))
        made = Site(url, environ, file, front, collected)
        for words in (("worker", "--load", str(file)), ("registration", "watch"), ("console",)):
            port = free_port()
            of_process = {**traced, "AWR_ADMIN_PORT": str(port)}
            made.running[port] = stack.enter_context(started(*words, tmp=tmp, **of_process))
        yield made


def _up(url: str) -> bool:
    try:
        with redis.Redis.from_url(url) as client:
            return bool(client.ping())
    except redis.RedisError:
        return False


def test_markers_show_nowhere(
    site: Site,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    prefix: str,
    tmp_path: Path,
) -> None:
    for n, fate in enumerate(FATES):
        site.send(fate, n)
    refused = [
        site.front.post(BODY.encode(), key="marker-unknown-key"),
        site.front.post(json.dumps({"driver": BODY}).encode(), key=SIGNING, content_type=f"text/{BODY[:6]}"),
    ]
    assert [one.status for one in refused] == [401, 415]
    assert site.front.post(f"[{BODY}".encode(), key=SIGNING).status == 202  # the quarantine
    cli = Cli(capsys, monkeypatch, site.url, prefix)
    for name, value in site.environ.items():
        monkeypatch.setenv(name, value)

    def is_settled() -> bool:
        found = [one for one in cli.json("handlers", "list") if one["name"] == "marked"]
        return any(one["dead"] >= DEAD and (one["open"], one["waiting"]) == (0, 0) for one in found)

    soon(is_settled, every_s=0.3)
    soon(lambda: len(site.collected.named("handle marked")) >= len(FATES))
    soon(lambda: "awr_handler_dead" in site.collected.metrics)
    search("refused", str([one.body for one in refused]))
    search("printed", site.printed(), *("delivery.dead", "RuntimeError", "event.quarantined"))
    search("exposed", site.exposed(), 'awr_handler_dead{handler="marked"}', "Needs attention")
    search("sent", site.sent(), "awr.notification", "accept notification")
    search("command lines", site.command_lines(), "worker")

    token_file = tmp_path / "next"
    token_file.write_text(NEXT)
    reader = Reader(site.front.admin_port)
    anonymous = Reader(site.front.admin_port)
    search("log-in", reader.log_in(WRONG_PASSWORD).text)
    assert reader.log_in(CONSOLE).status_code == 303
    known = {
        "act": [one["id"] for one in cli.json("audit", "list")],
        "entity": [f"session:s{n}" for n in range(len(FATES))],
        "event": [one["id"] for one in cli.json("events", "list")],
        "file": [str(site.file)],
        "folder": [str(tmp_path)],
        "handler": ["marked"],
        "held": [one["id"] for one in cli.json("quarantine", "list")],
        "letter": [one["id"] for one in cli.json("dead", "list")],
        "token_file": [str(token_file)],
        "type": [TYPE],
    }
    assert all(known.values())
    assert len(known["event"]) >= len(FATES)
    commands_say(cli, READS, known)
    for who in (anonymous, reader):
        for path in paths_of_pages(known):
            page = who.get(path)
            assert page.status_code in (200, 303, 307), f"{path}: {page.status_code} {page.text}"
            search(path, f"{page.text}\n{page.headers}")
    accepted = set()
    for path, answer in reader.send_forms(known):
        assert answer.status_code != 500, path
        accepted.update([path] if answer.status_code == 303 else [])
        search(path, f"{answer.text}\n{answer.headers}")
    assert accepted >= {"/handlers/marked/pause", "/dead/retry", "/handlers/marked/retire", "/session/end"}
    reader.close()
    anonymous.close()
    commands_say(cli, ACTS, known)
    assert MARKER.search(str(cli("events", "show", known["event"][0], "--body"))), (
        "an operator may ask for it"
    )
    search("exposed after acts", site.exposed())
    stored = everything_in(site.url)
    for secret in (TOKEN, SIGNING, PASSWORD, CONSOLE, BODIES, NEXT):
        assert secret.encode() not in stored, secret

    monkeypatch.setenv("AWR_REDIS_URL", site.url.replace(PASSWORD, WRONG_PASSWORD))
    for command in ("status", "doctor", "events list"):
        code, out, err = cli(*command.split())
        assert code != 0
        search(command, f"{out}{err}")
    with redis.Redis.from_url(site.url) as client:
        client.config_set("requirepass", WRONG_PASSWORD)
        client.client_kill_filter(_type="normal")
    soon(lambda: "redis-" in str(site.front.ready()["reasons"]))
    soon(lambda: "redis.unreachable" in site.printed())
    search("exposed without Redis", site.exposed())
    search("printed at the end", site.printed())
    search("sent at the end", site.sent())


def commands_say(cli: Cli, table: Mapping[str, tuple[str, ...]], known: Known) -> None:
    """Search what each command of a table prints."""
    for words in command_lines(table, known):
        search(" ".join(words), str(cli(*words)))


def search(what: str, text: str, *parts: str) -> None:
    """Assert that a text has these parts, and no marker."""
    for part in parts:
        assert part in text, f"{part} is not in {what}"
    found = MARKER.search(text)
    assert found is None, f"{found} in {what}: {text[max(0, found.start() - 300) : found.end()]}"


def everything_in(url: str) -> bytes:
    """Return all that Redis holds."""
    with redis.Redis.from_url(url) as client:
        return b"".join(key + (client.dump(key) or b"") for key in client.scan_iter())
