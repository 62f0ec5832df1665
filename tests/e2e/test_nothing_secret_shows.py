"""Tokens, passwords and what is in bodies show nowhere: lines, metrics, health, errors, commands, pages.

Real processes at debug level meet every kind of trouble with bodies whose texts are markers. What they print and
answer is searched, and so is what each command and each page of the console says about it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from ampeco.simulator.testing import Box, tenant_in_a_box
from commands.demo_stack import free_port
from tests.cli import Cli
from tests.door import Door, door
from tests.e2e.process_tree import Command, started
from tests.harness import soon
from tests.servers import server

TOKEN, SIGNING = "marker-api-token", "marker-signing-key"
PASSWORD, WRONG_PASSWORD = "marker-redis-password", "marker-wrong-password"
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
COMMANDS = (
    "status", "settings", "doctor", "audit list", "handlers list", "events list", "events shapes", "dead list",
    "quarantine list", "gaps list", "registration show", "registration plan",
)  # fmt: skip


class Site:
    """A receiver and a worker over a Redis with a password, and all that they printed."""

    def __init__(self, url: str, environ: dict[str, str], front: Door, running: Command, port: int) -> None:
        self.url, self.environ = url, environ
        self.front, self.running, self.port = front, running, port

    def send(self, fate: str, n: int) -> None:
        session = {"id": f"s{n}", "status": "active"}
        body = {"notification": TYPE, "session": session, "driver": BODY, "fate": fate}
        assert self.front.post(json.dumps(body).encode(), key=SIGNING).status == 202

    def printed(self) -> str:
        return "\n".join(map(json.dumps, self.front.lines)) + self.running.stdout + self.running.stderr

    def exposed(self) -> str:
        """What both admin ports answer."""
        paths = ("/metrics", "/health/ready", "/health/live", f"/{BODY.split()[0]}")
        return "".join(
            str(self._asked(port, path)) for port in (self.front.admin_port, self.port) for path in paths
        )

    def shown(self, events: list[str], letters: list[str], held: list[str]) -> str:
        """What pages of the console show to a reader without a token."""
        paths = [
            *("/", "/events", "/handlers", "/handlers/marked", "/handlers/marked/replay", "/dead"),
            *("/quarantine", "/audit", "/line", "/shapes", "/help", "/session"),
            *(f"/event/{id_}" for id_ in events),
            *(f"/dead/{id_}" for id_ in letters),
            *(f"/quarantine/{id_}" for id_ in held),
            *(f"/entity?key=session:s{n}" for n in range(len(FATES))),
        ]
        answers = {path: self.front.get(f"/console{path}", admin=True) for path in paths}
        assert {path: one.status for path, one in answers.items() if one.status != 200} == {}
        return "".join(f"{path}: {one.body.decode()}" for path, one in answers.items())

    def _asked(self, port: int, path: str) -> bytes:
        return self.front.exchange(f"GET {path} HTTP/1.1\r\nhost: x\r\n\r\n".encode(), port=port).body


@pytest.fixture
def box() -> Iterator[Box]:
    with tenant_in_a_box(token=TOKEN) as made:
        yield made


@pytest.fixture
def site(box: Box, tmp_path: Path, tmp: Path, prefix: str) -> Iterator[Site]:
    redis_port, admin_port = free_port(), free_port()
    url = f"redis://:{PASSWORD}@127.0.0.1:{redis_port}"
    file = tmp_path / "marked.py"
    file.write_text(HANDLERS)
    options = {"port": str(redis_port), "requirepass": PASSWORD}
    with server(tmp_path, wait=False, **options):
        soon(lambda: _up(url))
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
        }
        of_worker = {
            **environ,
            "AWR_ADMIN_PORT": str(admin_port),
            "AWR_HANDLERS_ALLOW": "marked",
            "ACME_MARKED_SECRET": PLUGIN,
        }
        with (
            started("worker", "--load", str(file), tmp=tmp, **of_worker) as running,
            door(url, prefix, environ) as front,
        ):
            yield Site(url, environ, front, running, admin_port)


def _up(url: str) -> bool:
    try:
        with redis.Redis.from_url(url) as client:
            return bool(client.ping())
    except redis.RedisError:
        return False


def test_markers_show_nowhere(
    site: Site, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, prefix: str
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
    said = [site.printed(), site.exposed(), *(str(one.body) for one in refused)]
    assert "delivery.dead" in said[0]
    assert "RuntimeError" in said[0]
    assert "event.quarantined" in said[0]
    assert 'awr_handler_dead{handler="marked"}' in said[1]
    events = [one["id"] for one in cli.json("events", "list")]
    letters = [one["id"] for one in cli.json("dead", "list")]
    held = [one["id"] for one in cli.json("quarantine", "list")]
    assert len(events) >= len(FATES)
    assert held
    said.append(site.shown(events, letters, held))
    assert "RuntimeError" in said[-1]
    about = [
        *(f"explain {id_}" for id_ in events),
        *(f"events show {id_}" for id_ in events),
        *(f"dead show {id_}" for id_ in letters),
        *(f"quarantine show {id_}" for id_ in held),
        *(f"explain session:s{n}" for n in range(len(FATES))),
    ]
    said += [
        f"{command}: {cli(*command.split(), *options)}"
        for command in (*COMMANDS, *about)
        for options in ((), ("--json",))
    ]
    assert MARKER.search(str(cli("events", "show", events[0], "--body"))), "an operator may ask for it"
    monkeypatch.setenv("AWR_REDIS_URL", site.url.replace(PASSWORD, WRONG_PASSWORD))
    for command in ("status", "doctor", "events list"):
        code, out, err = cli(*command.split())
        assert code != 0
        said.append(f"{command}: {out}{err}")
    for text in said:
        found = MARKER.search(text)
        assert found is None, f"{found} in {text[max(0, found.start() - 300) : found.end()]}"
