"""Every command with odd arguments, on logs in odd states: an exit code, at most one line of error, no traceback."""

from __future__ import annotations

import asyncio
import json
import math
import os
import random
import signal
import time
from pathlib import Path

import click
import pytest

from commands import main
from commands.failures import unreadable
from eventlog.clock import now_ms
from eventlog.log import Unreadable
from handlers import Context, Event, GiveUp, Raw, Retry, handler
from tests.command_arguments import Given, commands, lasts, words_for
from tests.harness import declaration, drained, event, opened

SECONDS = float(os.environ.get("FUZZ_SECONDS", "6"))
SEED = int(os.environ.get("FUZZ_SEED", "0")) or int(time.time())

HANDLER = """
from handlers import Context, Event, Raw, handler

@handler("h", on=["*"])
async def h(event: Event[Raw], ctx: Context) -> None:
    await ctx.once("mail", lambda: 1 / 0)
"""


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Files of every kind that a command may be given, in a current folder of their own."""
    texts = {
        "h.py": HANDLER,
        "broken.py": "def (",
        "raising.py": "raise BaseException('a\\nb')",
        "ending.py": "import sys; sys.exit('ended')",
        "empty.py": "",
        "body.json": '{"notification": "x", "session": {"id": 1}}',
        "odd.json": "[",
        "plan.toml": "charge_points = 3",
        "odd.toml": "a = [",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "latin.py").write_bytes(b"x = '\xff'\x00")
    monkeypatch.chdir(tmp_path)
    return [*texts, "latin.py"]


async def fill(url: str, prefix: str) -> list[str]:
    """Make a log that has something of everything; return ids and names in it."""

    @handler("h", on=["*"])
    async def h(event: Event[Raw], ctx: Context) -> None:
        match event.payload.data["n"]:
            case 1:
                raise GiveUp("no such thing")
            case 2:
                raise Retry("not there yet", after_s=900)

    async with opened(url, prefix) as log:
        await log.claim("", "")
        await log.declare([declaration(h), declaration(h, name="picky", types=("b",))])
        answers = (await log.append([event(key=f"session:{n % 3}", n=n) for n in range(6)])).answers
        await drained(log, h)
        answers += (await log.append([Unreadable(b"??", "not-json", now_ms(), "")])).answers
        letters = [f"h/{letter.decode()}" for letter, _ in await log.redis.xrange(log.key("dead", "h"))]
        return [
            "h",
            "picky",
            "session:1",
            "session:2",
            *letters,
            *(answer.event_id or "" for answer in answers),
        ]


async def spoil(url: str, prefix: str) -> list[str]:
    """Make a log of the same names whose keys are all of the wrong type."""
    known = await fill(url, prefix)
    async with opened(url, prefix) as log:
        async for key in log.redis.scan_iter(match=f"{prefix}*"):
            is_text = await log.redis.type(key) == b"string"
            await log.redis.delete(key)
            await (log.redis.hset(key, "x", "y") if is_text else log.redis.set(key, "not what is expected"))
    return known


async def renew(url: str, prefix: str) -> list[str]:
    """Make a log as a newer version might write it: records of unknown versions, with unknown fields."""
    known = await fill(url, prefix)
    async with opened(url, prefix) as log:
        async for key in log.redis.scan_iter(match=f"{prefix}*"):
            match await log.redis.type(key):
                case b"hash":
                    for name, value in (await log.redis.hgetall(key)).items():
                        head, line_end, rest = value.partition(b"\n")
                        if head.startswith(b"{"):
                            newer = json.dumps({**json.loads(head), "v": 99, "new": [1]}).encode()
                            await log.redis.hset(key, name, newer + line_end + rest)
                case b"stream":
                    for entry, fields in await log.redis.xrange(key):
                        await log.redis.xdel(key, entry)
                        await log.redis.xadd(key, {**fields, b"v": b"99", b"new": b"1"})
    return known


async def garble(url: str, prefix: str) -> list[str]:
    """Make a log whose values are all of the right type and mean nothing."""
    known = await fill(url, prefix)
    async with opened(url, prefix) as log:
        async for key in log.redis.scan_iter(match=f"{prefix}*"):
            match await log.redis.type(key):
                case b"hash":
                    for name in await log.redis.hkeys(key):
                        await log.redis.hset(key, name, b'{"v": 99}')
                case b"stream":
                    for entry, fields in await log.redis.xrange(key):
                        await log.redis.xdel(key, entry)
                        await log.redis.xadd(key, {**dict.fromkeys(fields, b"?"), b"v": b"99"})
                case b"string":
                    await log.redis.set(key, "99")
    return known


async def nothing(url: str, prefix: str) -> list[str]:
    return ["h", "session:1", "0-1764000000000-0"]


class Runner:
    """Runs commands in this process, and checks how each ends."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, words: list[str], *, lasting: bool, is_garbage: bool, is_away: bool) -> None:
        interrupted = False

        def interrupt(*_: object) -> None:
            nonlocal interrupted
            interrupted = True
            os.kill(os.getpid(), signal.SIGINT)

        self._capsys.readouterr()
        before = signal.signal(signal.SIGALRM, interrupt)
        signal.setitimer(signal.ITIMER_REAL, 0.2 if lasting else 20)
        try:
            with pytest.raises(SystemExit) as end:
                main.main([*words], prog_name="ampeco-receiver")
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
        out, err = self._capsys.readouterr()
        seen = f"{words!r} -> {end.value.code}\n{out}\n{err}"
        assert lasting or not interrupted, f"it does not end: {seen}"
        assert end.value.code in (0, 1, 2, 3) or (interrupted and end.value.code == 130), seen
        assert end.value.code != 3 or is_away, seen
        assert "Traceback" not in out + err, seen
        assert "internal error" not in err or is_garbage, seen
        if end.value.code not in (0, 130):
            most = 1 if words[:2] != ["handlers", "check"] else len(words)
            assert len(err.splitlines()) <= most, seen
            assert err or out, f"it does not say why: {seen}"
        if "--json" in words and "--help" not in words and out and "--body" not in words:
            for document in out.splitlines() if words[1] == "tail" else [out]:
                json.loads(document)


def parse(command: click.Command, words: list[str]) -> None:
    """Only parse the arguments of a command that goes on until a signal."""
    if unreadable(words) is not None:
        return  # refused before they are parsed
    try:
        found = command.make_context("command", [*words]).params
    except (click.ClickException, click.exceptions.Exit):
        return
    assert all(math.isfinite(value) for value in found.values() if isinstance(value, float)), found


def test_any_arguments(capsys, monkeypatch, valkey, prefix, tmp_path, files) -> None:
    dice, run, end_s = random.Random(SEED), Runner(capsys), time.monotonic() + SECONDS
    every = [(path, command) for path, command in commands()]
    states = (fill, fill, fill, nothing, spoil, renew, garble)
    tried, faults = 0, []
    while time.monotonic() < end_s:
        state = states[tried % len(states)]
        tried += 1
        name = f"{prefix}{tried}:"
        given = Given(tmp_path, asyncio.run(state(valkey.url, name)), files)
        for variable, value in {
            "AWR_REDIS_URL": valkey.url,
            "AWR_KEY_PREFIX": name,
            "AWR_LANES": "4",
        }.items():
            monkeypatch.setenv(variable, value)
        for path, command in dice.sample(every, len(every)):
            words = words_for(command, given, dice)
            try:
                if lasts(path, words) and path != ("events", "tail"):
                    parse(command, words)
                    continue
                run(
                    [*path, *words],
                    lasting=lasts(path, words),
                    is_garbage=state is garble,
                    is_away=path[0] == "simulator" or state not in (fill, nothing),
                )
            except (Exception, pytest.fail.Exception) as error:
                faults.append(f"{state.__name__}, FUZZ_SEED={SEED}: {[*path, *words]!r}: {error!r}"[:3000])
    assert not faults, "\n\n".join([str(len(faults)), *faults])


@pytest.mark.parametrize(
    "words", [["handlers", "list"], ["events", "tail", "--no-follow"], ["explain", "session:1"]]
)
@pytest.mark.parametrize(
    ("url", "code"),
    [("redis://127.0.0.1:1", 3), ("unix:///missing.sock", 3), ("nobody:wrong", 2), ("/abc", 2)],
)
def test_a_redis_that_cannot_be_used_is_one_line(capsys, monkeypatch, valkey, words, url, code) -> None:
    if url == "nobody:wrong":
        url = valkey.url.replace("unix://", "unix://nobody:wrong@")
    monkeypatch.setenv("AWR_REDIS_URL", url)
    with pytest.raises(SystemExit) as end:
        main.main(words, prog_name="ampeco-receiver")
    out, err = capsys.readouterr()
    assert (end.value.code, out, len(err.splitlines())) == (code, "", 1), err


SEEN = (
    ["events", "show", "0-99999999999999999999-0"],
    ["events", "show", "٣-٣-٣"],
    ["explain", "session:\udcff"],
    ["explain", "٣-٣-٣"],
    ["dead", "list", "--before", "h/99999999999999999999-0"],
    ["dead", "list", "--before", "h/٣-٣"],
    ["dead", "list", "--since", "9999999999999999d ago"],
    ["dead", "list", "--since", "9" * 5_000 + "h ago"],
    ["handlers", "new", "x", "--folder", "a\0"],
    ["handlers", "run", "h", "--event", "x" * 300],
    ["simulator", "send", "\ud800"],
    ["demo", "--rate", "nan"],
    ["simulator", "--retry-pause", "inf"],
    ["handlers"],
)
OLD = ["99999999d ago", "0001-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00"]


@pytest.fixture
def filled(monkeypatch, valkey, prefix) -> None:
    asyncio.run(fill(valkey.url, prefix))
    for variable, value in {"AWR_REDIS_URL": valkey.url, "AWR_KEY_PREFIX": prefix, "AWR_LANES": "4"}.items():
        monkeypatch.setenv(variable, value)


@pytest.mark.parametrize("words", SEEN, ids=lambda words: ascii(words)[:60])
def test_arguments_that_broke_a_command_are_wrong_usage(capsys, filled, files, words) -> None:
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        main.main(words, prog_name="ampeco-receiver")
    out, err = capsys.readouterr()
    assert end.value.code == 2, err
    assert len(err.splitlines()) == (0 if out else 1), err


@pytest.mark.parametrize("time", OLD)
def test_a_time_before_all_events_selects_them_all(capsys, filled, time) -> None:
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        main.main(["handlers", "replay", "h", "--from", time, "--json"], prog_name="ampeco-receiver")
    out, err = capsys.readouterr()
    assert end.value.code == 0, err
    assert json.loads(out)["plan"]["from"] == "1970-01-01T00:00:00.000Z"
