"""Users of Redis: the least permissions that are enough, and passwords that change while traffic flows."""

from __future__ import annotations

import asyncio
import json
import re
import uuid
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path

import pytest
import redis

from eventlog.inspection.events import list_events
from eventlog.log import EventLog
from tests.conftest import LOG_SERVERS
from tests.door import Door, awr, door
from tests.harness import event, on_log, opened, position, soon, worker
from tests.integration.test_redis_reasons import BINARY, as_user
from tests.meta.repository import ROOT
from tests.servers import free_port, server

RECORDER = """
from handlers import Context, Event, GiveUp, Raw, handler

@handler("recorder", on=["*"], start="oldest")
async def record(event: Event[Raw], ctx: Context) -> None:
    await ctx.once("step", lambda: done())
    if event.payload.data.get("fails"):
        raise GiveUp("it was asked to")

async def done() -> int:
    return 1
"""
PAGE = (ROOT / "deploy" / "README.md").read_text()
RULES = re.search(r"ACL SETUSER ampeco on >\S+ (.+)", PAGE)
DEFAULT_USER = re.search(r"^user default .+$", PAGE, re.MULTILINE)


@pytest.fixture(scope="module", params=LOG_SERVERS)
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with server(tmp_path_factory.mktemp("server"), binary=BINARY[request.param]) as url:
        yield url


@pytest.fixture
def client(url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(url, decode_responses=True) as client:
        client.flushall()
        yield client


def permitted(client: redis.Redis, *rules: str) -> None:
    """The user as the operators' page has it; its passwords are changed by `rules`."""
    assert RULES is not None
    client.execute_command("ACL", "SETUSER", "ampeco", "reset", "on", *RULES[1].split(), *rules)


def body(**data: object) -> bytes:
    return json.dumps({"notification": "x.changed", "n": uuid.uuid4().hex, **data}).encode()


def settled(url: str, count: int) -> bool:
    async def look() -> bool:
        async with opened(url, "awr:") as log:
            found = await position(log, "recorder")
            return found.stats.get("done", 0) + found.stats.get("dead", 0) == count

    return asyncio.run(look())


def sent(front: Door, count: int, **data: object) -> None:
    for _ in range(count):
        assert front.post(body(**data)).status == 202


def test_the_documented_permissions_are_enough(url: str, client: redis.Redis, tmp_path: Path) -> None:
    (tmp_path / "recorder.py").write_text(RECORDER)
    permitted(client, ">word")
    limited = as_user(url, "ampeco")
    log = tmp_path / "worker.log"
    with (
        door(limited, "awr:") as front,
        worker(limited, "awr:", [tmp_path / "recorder.py"], {}, log) as running,
    ):
        soon(lambda: front.get("/health/ready").status == 200)
        soon(lambda: b"worker.started" in log.read_bytes())
        sent(front, 20)
        sent(front, 1, fails=True)
        soon(lambda: settled(url, 21))
        environ = {"AWR_REDIS_URL": limited, "AWR_LANES": "4", "AWR_REGISTER": "off"}
        (dead,) = json.loads(awr("dead", "list", "--json", environ=environ).out)
        for command in (
            ("handlers", "list"),
            ("handlers", "pause", "recorder", "--reason", "a test"),
            ("handlers", "resume", "recorder"),
            ("handlers", "replay", "recorder", "--from", "1h ago", "--yes"),
            ("dead", "retry", "--handler", "recorder", "--yes"),
            ("events", "list"),
            ("explain", dead["event"]),
            ("dead", "discard", "--handler", "recorder", "--yes"),
            ("handlers", "rename", "recorder", "another", "--yes"),
            ("handlers", "retire", "another", "--yes"),
        ):
            done = awr(*command, environ=environ)
            assert done.code == 0, (command, done)
        assert running.stop() == 0
        assert front.stop() == 0
    text = log.read_text() + json.dumps(front.lines)
    assert "redis-no-permission" not in text
    assert "NOPERM" not in text
    assert {name.partition(":")[0] for name in client.keys("*")} == {"awr"}


def test_a_command_says_which_permission_it_lacks(url: str, client: redis.Redis) -> None:
    permitted(client, ">word", "-hgetall")
    done = awr("handlers", "list", environ={"AWR_REDIS_URL": as_user(url, "ampeco")})
    assert done.code == 2
    (line,) = done.err.splitlines()
    assert "AWR_REDIS_URL" in line
    assert "hgetall" in line


def rotated(client: redis.Redis, old: str, new: str) -> None:
    """Give the user another password, and cut what it has open."""
    client.execute_command("ACL", "SETUSER", "ampeco", f">{new}", f"<{old}")
    client.execute_command("CLIENT", "KILL", "USER", "ampeco")


def traffic(front: Door) -> int:
    """Send until one is accepted; how many were accepted."""
    answers: list[int] = []

    def accepted() -> bool:
        answers.append(front.post(body()).status)
        return answers[-1] == 202

    soon(accepted)
    return 1


@pytest.mark.parametrize("kind", ["file", "function"])
def test_a_password_changes_while_traffic_flows(
    url: str, client: redis.Redis, tmp_path: Path, kind: str
) -> None:
    (tmp_path / "recorder.py").write_text(RECORDER)
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    password = tmp_path / "password"
    environ: Mapping[str, str | None]

    def give(word: str) -> None:
        password.write_text(word)
        if kind == "file":
            fresh = tmp_path / "fresh"
            fresh.write_text(as_user(url, "ampeco", word))
            fresh.rename(secrets / "AWR_REDIS_URL")

    permitted(client, ">first")
    give("first")
    if kind == "file":
        environ = {"AWR_REDIS_URL": None, "AWR_SECRETS_DIR": str(secrets)}
    else:
        (tmp_path / "tokens.py").write_text(
            f"def login():\n    return 'ampeco', open({str(password)!r}).read()\n"
        )
        environ = {"AWR_REDIS_CREDENTIALS": "tokens:login", "PYTHONPATH": str(tmp_path)}
    log = tmp_path / "worker.log"
    with (
        door(url, "awr:", environ) as front,
        worker(url, "awr:", [tmp_path / "recorder.py"], environ, log) as running,
    ):
        soon(lambda: b"worker.started" in log.read_bytes())
        soon(lambda: front.get("/health/ready").status == 200)
        count = traffic(front)
        for old, new in (("first", "second"), ("second", "third")):
            give(new)
            rotated(client, old, new)
            count += sum(traffic(front) for _ in range(20))
            soon(lambda count=count: settled(url, count))  # type: ignore[misc]
        if kind == "file":
            front.line("redis.login_changed")
            assert front.said("settings.restart_needed") == []
        with redis.Redis.from_url(url) as asked:
            users = {each["user"] for each in asked.client_list()}
        assert users == {"ampeco", "default"}
        assert running.stop() == 0
        assert front.stop() == 0


@pytest.mark.parametrize("kind", LOG_SERVERS)
def test_a_log_survives_a_restart_with_the_default_user_switched_off_as_the_page_says(
    kind: str, tmp_path: Path
) -> None:
    assert RULES is not None
    assert DEFAULT_USER is not None
    file, port = tmp_path / "users.acl", str(free_port())
    file.write_text(f"{DEFAULT_USER[0]}\nuser ampeco on >word {RULES[1]}\n")
    url, options = f"redis://ampeco:word@127.0.0.1:{port}", {"aclfile": str(file), "port": port}

    async def kept(log: EventLog) -> int:
        return len(await list_events(log, limit=10))

    def restarted(work: Callable[[EventLog], Awaitable[int]]) -> int:
        with server(tmp_path, binary=BINARY[kind], wait=False, appendfsync="always", **options):
            soon(lambda: answers(url), every_s=0.05)
            return on_log(url, "awr:", work)

    async def append(log: EventLog) -> int:
        await log.claim("https://t.example", "")
        return len((await log.append([event(n=n) for n in range(3)])).answers)

    assert restarted(append) == restarted(kept) == 3


def answers(url: str) -> bool:
    with redis.Redis.from_url(url) as client:
        try:
            return client.exists("awr:none") == 0
        except redis.RedisError:
            return False
