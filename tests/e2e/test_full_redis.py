"""A Redis over its maxmemory: workers start and work off what is there, and each command works or says why not."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from eventlog.operation.dead_letters import DeadFilter, matching
from eventlog.schedule import recompute
from handlers import Context, Event, GiveUp, Raw, handler
from tests.cli import Cli
from tests.conftest import LOG_SERVERS
from tests.harness import Worker, declaration, drained, event, opened, soon, worker
from tests.servers import server

HANDLERS = """
from eventlog.operation.dead_letters import DeadFilter, matching
from eventlog.schedule import recompute
from handlers import Context, Event, GiveUp, Raw, handler

@handler("ordinary", on=["*"], start="oldest")
async def ordinary(event: Event[Raw], ctx: Context) -> None:
    await ctx.once("step", lambda: 1)
    if event.payload.data["n"] == 0:
        raise GiveUp("no such thing")

@handler("apart", on=["*"], start="oldest", isolation="process")
async def apart(event: Event[Raw], ctx: Context) -> None:
    pass
"""
NAMES = ("ordinary", "apart")
EVENTS = 20
FULL = "ampeco-receiver: AWR_REDIS_URL: redis-full; out of memory: "


class Full:
    """A log of some events on a server that takes no plain write any more."""

    def __init__(self, url: str, prefix: str, folder: Path) -> None:
        self.url, self.prefix, self._folder = url, prefix, folder
        self.file = folder / "handlers_of_full.py"
        self.file.write_text(HANDLERS)
        self.environ = {"AWR_REDIS_URL": url, "AWR_KEY_PREFIX": prefix, "AWR_LANES": "4"}
        self.ids: list[str] = []

    def accepts(self) -> bool:
        """Append one more event; return whether it was accepted."""

        async def append() -> bool:
            async with opened(self.url, self.prefix) as log:
                (answer,) = (await log.append([event("t", "session:99", n=99)])).answers
                return answer.outcome == "accepted"

        return asyncio.run(append())

    def fill(self) -> None:
        async def made() -> None:
            async with opened(self.url, self.prefix) as log:
                await log.claim("", "")
                log_events = [event("t", f"session:{n}", n=n) for n in range(EVENTS)]
                self.ids = [answer.event_id or "" for answer in (await log.append(log_events)).answers]

        asyncio.run(made())
        with redis.Redis.from_url(self.url) as client:
            client.set("filler", b"x" * (20 << 20))
            client.config_set("maxmemory", "10mb")
            with pytest.raises(redis.exceptions.OutOfMemoryError):
                client.set("more", 1)

    def make_room(self) -> None:
        with redis.Redis.from_url(self.url) as client:
            client.delete("filler")

    def ended(self, name: str) -> int:
        """How many events a handler has settled."""

        async def found() -> int:
            async with opened(self.url, self.prefix) as log:
                stats = {one.name: one.stats for one in await log.handlers(measure=False)}.get(name, {})
                return stats.get("done", 0) + stats.get("dead", 0)

        return asyncio.run(found())

    @contextlib.contextmanager
    def worker(self) -> Iterator[Worker]:
        environ = {"AWR_HANDLERS_ALLOW": ",".join(NAMES), "AWR_LOG_FORMAT": "json"}
        with worker(self.url, self.prefix, [self.file], environ, self.log) as running:
            yield running

    @property
    def log(self) -> Path:
        return self._folder / "worker.log"


@pytest.fixture(params=LOG_SERVERS)
def full(request: pytest.FixtureRequest, tmp: Path, prefix: str) -> Iterator[Full]:
    binary = "redis-server" if request.param == "redis" else ""
    with server(tmp, binary=binary) as url:
        made = Full(url, prefix, tmp)
        made.fill()
        yield made


def test_a_worker_that_starts_works_off_what_is_there(full: Full) -> None:
    with full.worker() as running:
        soon(lambda: all(full.ended(name) == EVENTS for name in NAMES), every_s=0.2)
        said = full.log.read_text()
        assert said.count('"redis.full"') == 1, said
        assert '"redis.unreachable"' not in said
        full.make_room()
        soon(full.accepts, every_s=0.2)
        assert running.stop() == 0


def test_each_command_works_or_says_why_not(
    full: Full, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    @handler("h", on=["*"], start="oldest")
    async def h(event: Event[Raw], ctx: Context) -> None:
        if event.payload.data["n"] in (0, 1, 2):
            raise GiveUp("no such thing")

    async def settle() -> str:
        async with opened(full.url, full.prefix) as log:
            await log.declare([declaration(h), declaration(h, name="spare")])
            await recompute(log)
            await drained(log, h)
            return (await matching(log, DeadFilter()))[0].id

    letter = asyncio.run(settle())
    cli = Cli(capsys, monkeypatch, full.url, full.prefix)
    works = [
        ("handlers", "list"),
        ("handlers", "pause", "h", "--reason", "full"),
        ("explain", "session:1"),
        ("explain", full.ids[3]),
        ("events", "list"),
        ("events", "show", full.ids[3]),
        ("dead", "list"),
        ("dead", "show", letter),
        ("dead", "discard", letter),
        ("dead", "retry", "--handler", "h", "--yes"),
        ("handlers", "resume", "h"),
        ("handlers", "retire", "spare", "--yes"),
    ]
    for words in works:
        code, _, err = cli(*words)
        assert (code, err) == (0, ""), words
    for words in (
        ("handlers", "replay", "h", "--from", "1h ago", "--yes"),
        ("handlers", "rename", "h", "other", "--yes"),
    ):
        code, _, err = cli(*words)
        assert code == 3, words
        assert err.startswith(FULL), words
        assert err.count("\n") == 1, words
    full.make_room()
    assert cli("handlers", "replay", "h", "--from", "1h ago", "--yes")[0] == 0
