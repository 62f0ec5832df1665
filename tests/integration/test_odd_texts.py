"""Texts of senders and authors in what commands print: nothing acts on the terminal, and no letter hides others."""

from __future__ import annotations

import asyncio
import json
import os
import unicodedata
from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eventlog.log import EventLog
from eventlog.operation import dead_letters
from eventlog.operation.dead_letters import DeadFilter
from eventlog.text import CUT, REASON_CHARS
from handlers import Context, Event, GiveUp, Raw, Skip, handler
from tests.harness import declaration, drained, event, opened, position

FORGED = "type\x1b[2J\x1b]0;title\x07\nforged row"
KEY = "session:k\x1b[31m\r\nforged row\u202e\u200b"
HALF = json.loads('"no such driver \\ud83d"')
LONG = "r" * 2_000_000


@handler("h", on=["*"])
async def gives_up(event: Event[Raw], ctx: Context) -> None:
    raise GiveUp(json.loads(event.payload.data["reason"]))  # no body holds half a surrogate pair


async def fill(log: EventLog, *reasons: str, type: str = "x", key: str | None = "session:1") -> list[str]:
    await log.claim("", "")
    await log.declare([declaration(gives_up)])
    reply = await log.append(
        [event(type, key, n=n, reason=json.dumps(reason)) for n, reason in enumerate(reasons)]
    )
    await drained(log, gives_up)
    return [answer.event_id or "" for answer in reply.answers]


def filled(valkey, prefix, *reasons: str, **more: str | None) -> list[str]:
    async def run() -> list[str]:
        async with opened(valkey.url, prefix) as log:
            return await fill(log, *reasons, **more)

    return asyncio.run(run())


def harmful(text: str) -> Sequence[str]:
    return [c for c in text if c != "\n" and unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")]


def test_no_command_passes_a_control_character_on(cli, valkey, prefix):
    (event_id,) = filled(valkey, prefix, "why\x1b[2J\x9b\u202e\nforged", type=FORGED, key=KEY)
    (letter,) = cli.json("dead", "list")
    commands = (
        ("events", "list"), ("events", "show", event_id), ("events", "tail", "--no-follow"), ("dead", "list"),
        ("dead", "show", letter["id"]), ("dead", "show", letter["id"], "--body"), ("explain", KEY),
        ("explain", event_id),
        ("dead", "retry", "--type", FORGED), ("handlers", "list"), ("explain", "session:\x1b[2J"),
        ("handlers", "replay", "h", "--from", "2h ago"), ("dead", "show", "h/\x1b"),
        ("events", "show", "\x1b]0;x\x07"),
    )  # fmt: skip
    for words in commands:
        code, out, err = cli(*words)
        assert code in (0, 1, 2), err
        assert not harmful(out + err), words
        assert not [line for line in (out + err).splitlines() if line.startswith("forged")], words
        if words[1:] and words[0] in ("events", "dead", "explain") and words[1] != "replay":
            _, out, err = cli(*words, "--json") if "--body" not in words else (0, "", "")
            assert not harmful(out + err), words
    assert r"type\x1b[2J\x1b]0;title\x07\nforged row" in cli("events", "list")[1]
    assert (letter["type"], letter["key"]) == (FORGED, KEY)


def test_a_long_text_does_not_widen_every_row(cli, valkey, prefix):
    filled(valkey, prefix, LONG, "short", type="t" * 150, key="session:" + "漢" * 60)
    for words in (("dead", "list"), ("events", "list")):
        _, out, _ = cli(*words)
        assert max(map(len, out.splitlines())) < 600
        assert CUT in out


def test_half_a_character_in_one_letter_hides_no_other(cli, valkey, prefix):
    ids = filled(valkey, prefix, HALF, "plain")
    listed = cli.json("dead", "list")
    assert {row["error"] for row in listed} == {r"no such driver \ud83d", "plain"}
    assert r"no such driver \ud83d" in cli("dead", "list")[1]
    assert cli.json("explain", "session:1")["known"]
    assert cli("explain", ids[0])[0] == 0
    assert cli.json("dead", "retry", "--yes", "--handler", "h")["result"]["put"] == 2


async def put_as_older_code_did(log: EventLog, reason: str) -> None:
    """Store a dead letter, a pause and an end with texts as they were."""
    await fill(log, "plain")
    stream = log.key("dead", "h")
    ((_, fields),) = await log.redis.xrange(stream)
    head, _, body = fields[b"record"].partition(b"\n")
    record = json.loads(head)
    record["error"] = reason
    record["log"] = [[1, "gave-up", reason, [reason]]]
    fields[b"record"] = json.dumps(record).encode() + b"\n" + body
    await log.redis.xadd(stream, fields)
    await log.redis.xadd(stream, {**fields, b"record": b'{"v":99}\nbody', b"trace": b"\xff"})
    await log.redis.xadd(stream, {b"v": b"2"})
    await log.redis.hset(log.key("paused"), "h", json.dumps({"since_ms": 1, "reason": reason}))


@pytest.mark.parametrize("reason", [HALF, "\x1b[2J\x07\n", LONG])
def test_what_older_code_stored_is_shown_too(cli, valkey, prefix, reason):
    async def store() -> None:
        async with opened(valkey.url, prefix) as log:
            await put_as_older_code_did(log, reason)

    asyncio.run(store())
    listed = cli.json("dead", "list")
    assert len(listed) == 4
    for words in (
        ("dead", "list"),
        ("dead", "show", listed[-2]["id"]),
        ("handlers", "list"),
        ("explain", "session:1"),
    ):
        code, out, err = cli(*words)
        assert code == 0, err
        assert not harmful(out + err)
    code, out, err = cli("dead", "retry", "--yes", "--handler", "h", "--json")
    assert (code, err) == (1, "ampeco-receiver: 2 were not retried: this version cannot read them\n")
    result = json.loads(out)["result"]
    assert (result["put"], result["unreadable"]) == (1, 2)


def test_reasons_are_cut_before_they_reach_redis(with_lane):
    @handler("skips", on=["*"])
    async def skips(event: Event[Raw], ctx: Context) -> None:
        raise Skip(LONG)

    async def check(log: EventLog) -> None:
        await log.declare([declaration(gives_up), declaration(skips)])
        await log.append([event("x", None, n=n, reason=json.dumps(LONG)) for n in range(3)])
        await drained(log, gives_up)
        await drained(log, skips)
        assert (await position(log, "h")).dead == 3
        assert await log.redis.memory_usage(log.key("history", "skips", 0)) < 50_000
        letters = await dead_letters.matching(log, DeadFilter())
        for name in ("error", "log"):
            texts = [entry.letter.record.last_error if name == "error" else entry.letter.record.log[-1].detail
                     for entry in letters]  # fmt: skip
            assert {len(text) for text in texts} == {REASON_CHARS}
            assert all(text.endswith(CUT) for text in texts)

    with_lane(check)


@settings(
    max_examples=8,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(reason=st.text(st.characters(exclude_categories=()), max_size=40))
def test_any_reason_can_be_stored_listed_and_tried_again(cli, valkey, reason):
    filled(valkey, os.environ["AWR_KEY_PREFIX"], reason)
    assert not harmful("".join(cli("dead", "list")[1:]))
    (row,) = cli.json("dead", "list")
    json.dumps(row, ensure_ascii=False).encode()
    assert cli.json("dead", "discard", row["id"])["result"] == {"discarded": 1}
