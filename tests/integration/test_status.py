"""`status`: one screen from what the log knows, cheap with any backlog, and what needs a person now."""

from __future__ import annotations

import asyncio
import json
import re
import time
from pathlib import Path

import redis

from commands.status import _HEADS
from eventlog.clock import now_ms
from eventlog.connection.embedded import EmbeddedServer
from eventlog.log import EventLog, Unreadable
from eventlog.operation.handlers import pause
from eventlog.outages import AMPECO, Outages, Rules
from eventlog.presence import Part, beat
from eventlog.rates import KEPT_MINUTES, Sample, note_totals, per_minute, samples
from eventlog.registry import Declaration
from eventlog.replicas import Replica, publish
from eventlog.subscription import SubscriptionStore
from handlers import Context, Event, GiveUp, Raw, Retry, handler
from tests.cli import Cli
from tests.door import TOKEN, door
from tests.harness import declaration, drained, event, on_log, opened, soon, worker
from tests.integration.test_redis_login import RECORDER
from tests.meta.repository import ROOT


def test_a_running_deployment_on_one_screen(valkey, prefix, cli, tmp_path: Path) -> None:
    (tmp_path / "recorder.py").write_text(RECORDER)
    log = tmp_path / "worker.log"
    with (
        door(valkey.url, prefix) as front,
        worker(valkey.url, prefix, [tmp_path / "recorder.py"], {}, log),
    ):
        soon(lambda: b"worker.started" in log.read_bytes())
        for n in range(20):
            assert front.post(json.dumps({"notification": "x.changed", "n": n}).encode()).status == 202
        assert front.post(b"{}", key="another key").status == 401

        def is_seen() -> bool:
            seen = cli.json("status")
            (one,) = seen["handlers"]
            return (
                seen["accepted"]["total"] == 20
                and seen["accepted"]["per_minute"] is not None
                and one["waiting"] + one["open"] == 0
                and bool(one["served_by"])
                and seen["refused_last_24_hours"] == {"signature-mismatch": 1}
            )

        soon(is_seen)
        seen = cli.json("status")
        assert len(seen["receivers"]) == 1
        (process,) = seen["workers"]
        assert (process["handlers"], bool(process["release"])) == (["recorder"], True)
        assert seen["redis"]["role"] == "master"
        assert seen["redis"]["append_only_file"] is True
        assert abs(time.time() * 1000 - _ms(seen["last_event_at"])) < 60_000
        assert seen["needs_attention"] == []
        code, out, err = cli("status")
        assert (code, err) == (0, "")
        for words in ("1 alive", "recorder  running", "Valkey", "per minute", "nothing needs attention"):
            assert words in out
        assert len(out.splitlines()) < 40
        assert TOKEN not in out


def test_what_needs_a_person_is_named(valkey, prefix, cli) -> None:
    @handler("h", on=["*"], start="oldest")
    async def acts(event: Event[Raw], ctx: Context) -> None:
        match event.payload.data["n"]:
            case 1:
                raise GiveUp("no")
            case 2:
                raise Retry("later", after_s=900)

    async def fill(log: EventLog) -> None:
        await log.claim("https://t.example", "")
        await log.declare([declaration(acts), Declaration("idle", "v1", ("a",), "default", "none", "now")])
        await SubscriptionStore(log).remember({"id": "7", "types": "a,b", "key_id": "12345678"})
        await log.append([event(key=f"session:{n}", n=n) for n in range(3)])
        await log.append([Unreadable(b"??", "not-json", 1, "")])
        await drained(log, acts)
        await pause(log, "idle", reason="a test", now_ms=1)
        await log.redis.set(log.key("full"), "the budget is taken")
        fields = ("at_ms", "max_bytes", "oldest_ms", "events", "open", "dead", "quarantine")
        await log.redis.hset(log.key("standing"), mapping=dict.fromkeys(fields, 1))

    on_log(valkey.url, prefix, fill)
    seen = cli.json("status")
    (busy, idle) = seen["handlers"]
    assert (busy["retrying"], busy["dead"], busy["open"], busy["failed_attempts"]) == (1, 1, 1, 1)
    assert idle["paused"]["reason"] == "a test"
    assert seen["registration"]["types"] == ["a", "b"]
    assert (seen["registration"]["id"], seen["registration"]["key_id"]) == ("7", "12345678")
    text = "\n".join(seen["needs_attention"])
    for words in (
        "the log is full",
        "no receiver is alive",
        "in quarantine: 1 body",
        "no worker is alive",
    ):
        assert words in text
    out = cli("status")[1]
    assert "subscription 7 with 2 types, signed with key 12345678" in out
    assert "needs attention:" in out


def test_the_registration_is_what_ampeco_confirmed(valkey, prefix, cli) -> None:
    async def confirm(log: EventLog) -> None:
        fields = {"id": "7", "types": "a,b", "callback_url": "https://x/y", "key_id": "12345678"}
        store = SubscriptionStore(log)
        await store.confirm(fields, state="registered", key_id="12345678", covers=["a", "b"])
        heard = {("12345678", "a"): now_ms() - 90_000, ("deadbeef", "a"): now_ms() - 90_000_000}
        await publish(log, Replica("r", frozenset({"12345678"})), types=heard, subscriptions=[])

    on_log(valkey.url, prefix, confirm)
    seen = cli.json("status")
    assert seen["registration"]["state"] == "registered"
    assert abs(time.time() * 1000 - _ms(seen["registration"]["confirmed_at"])) < 60_000
    assert list(seen["key_ids"]) == ["12345678", "deadbeef"]
    out = cli("status")[1]
    assert re.search(r"subscription 7 with 2 types, signed with key 12345678; AMPECO confirmed it \d", out)
    assert "12345678 (last event 1 min " in out
    assert "deadbeef (last event 1 d 1 h ago)" in out

    async def fail(log: EventLog) -> None:
        store = SubscriptionStore(log)
        await store.note_missing("not-subscribed", ["b"], now_ms())
        await store.note_state("failed:unauthorized", key_id="12345678", detail="401")

    on_log(valkey.url, prefix, fail)
    text = "\n".join(cli.json("status")["needs_attention"])
    assert "the registration cannot be checked: failed:unauthorized (401)" in text
    assert re.search(r"since \S+Z not subscribed: b;", text)

    async def remove(log: EventLog) -> None:
        await SubscriptionStore(log).set_removed()

    on_log(valkey.url, prefix, remove)
    assert "removed on request" in cli("status")[1]
    assert any("registration apply" in line for line in cli.json("status")["needs_attention"])


def test_a_key_that_signs_and_is_not_accepted_needs_a_person(valkey, prefix, cli) -> None:
    with door(valkey.url, prefix) as front:

        def refused() -> list[str]:
            for n in range(10):
                assert front.post(json.dumps({"n": n}).encode(), key="another key").status == 401
            return [line for line in cli.json("status")["needs_attention"] if "wrong signature" in line]

        soon(lambda: bool(refused()), every_s=0.2)
        assert refused()[0].endswith(
            "and no event: the key that signs is not accepted; `registration show` names the keys"
        )
        assert front.post(b'{"notification": "x.changed"}').status == 202
        soon(lambda: not refused(), every_s=0.2)


def test_keys_of_a_wrong_type_are_named_and_lead_to_their_page(valkey, prefix, cli) -> None:
    page = "deploy/README.md, Keys of a wrong type"
    assert "\n### Keys of a wrong type\n" in (ROOT / "deploy" / "README.md").read_text()
    with door(valkey.url, prefix) as front, redis.Redis.from_url(valkey.url) as client:
        for lane in range(4):
            client.set(f"{prefix}events:{lane}", "x")
        answer = front.post(b'{"notification": "x.changed"}')
        assert (answer.status, bool(answer.headers["retry-after"])) == (503, True)
        said = front.line("log.unreadable", step="append")["said"]
        assert said.startswith(f"XADD {prefix}events:")
        assert "WRONGTYPE" in said

        def needed() -> list[str]:
            return [line for line in cli.json("status")["needs_attention"] if line.endswith(f"({page})")]

        soon(lambda: bool(needed()), every_s=0.2)
        assert needed()[0].startswith(
            "Redis did not take 1 event in ten minutes: `log.unreadable` names the key"
        )
        client.delete(*(f"{prefix}events:{lane}" for lane in range(4)))
        assert front.post(b'{"notification": "x.changed"}').status == 202
        client.set(f"{prefix}newest", "x")
        code, _, err = cli("handlers", "list")
        assert (code, err.endswith(f"or see {page}\n")) == (2, True), err


def test_receivers_that_refuse_since_the_log_is_full_are_alive(valkey, prefix, cli) -> None:
    """They beat only while they can write."""

    async def fill(log: EventLog) -> None:
        await log.claim("https://t.example", "")
        await publish(log, Replica("r", frozenset({"12345678"})), types={}, subscriptions=[])
        await log.redis.set(log.key("full"), "the budget is taken")
        fields = ("at_ms", "max_bytes", "oldest_ms", "events", "open", "dead", "quarantine")
        await log.redis.hset(log.key("standing"), mapping=dict.fromkeys(fields, 1))

    on_log(valkey.url, prefix, fill)
    seen = cli.json("status")
    assert seen["receivers"] == ["r"]
    (line,) = seen["needs_attention"]
    assert line == "the log is full, so events are refused: the budget is taken; `handlers list` shows all"


def test_a_handler_that_waits_for_ampeco_is_held(valkey, prefix, cli) -> None:
    async def fill(log: EventLog) -> None:
        await log.declare([Declaration("h", "v1", ("a",), "default", "none", "now")])
        await beat(log, "default", "host:1:x", 0, {"h": Part()}, {"h": "v1"})
        verdict = await Outages(log, Rules(first_s=60.0)).failed(AMPECO, "h", "500", list("abcde"))
        assert verdict.is_away

    on_log(valkey.url, prefix, fill)
    seen = cli.json("status")
    assert seen["handlers"][0]["away"]["service"] == "ampeco"
    assert any("h is held: AMPECO has answered 500 since" in line for line in seen["needs_attention"])
    assert re.search(r"^h +held ", cli("status")[1], re.MULTILINE)


def test_a_handler_most_of_whose_attempts_fail_is_named(valkey, prefix, cli) -> None:
    async def fill(log: EventLog) -> None:
        names = ("fails", "fine", "quiet")
        await log.declare([Declaration(name, "v1", ("a",), "default", "none", "now") for name in names])
        await beat(log, "default", "host:1:x", 0, dict.fromkeys(names, Part()), dict.fromkeys(names, "v1"))
        await log.redis.hset(
            log.key("attempted"), mapping={"fails": "90/80 10/10", "fine": "90/40", "quiet": "4/4"}
        )

    on_log(valkey.url, prefix, fill)
    seen = cli.json("status")
    assert seen["handlers"][0]["attempts_lately"] == {"minutes": 2, "total": 100, "failed": 90}
    (line,) = [line for line in seen["needs_attention"] if " fails, " in line]
    assert line.startswith("fails fails, 90 of 100 attempts in 2 minutes: ")
    assert re.search(r"^fails +running .* 90% ", cli("status")[1], re.MULTILINE)


def test_an_empty_log_has_a_screen(cli) -> None:
    code, out, err = cli("status")
    assert (code, err) == (0, "")
    assert "none is recorded" in out
    assert cli.json("status")["handlers"] == []


def test_it_costs_the_same_with_any_backlog(server: EmbeddedServer, capsys, monkeypatch) -> None:
    """No body leaves Redis, however many wait."""
    cli = Cli(capsys, monkeypatch, server.url, "awr:")

    async def fill() -> None:
        async with opened(server.url, "awr:") as log:
            await log.declare([Declaration("h", "v1", ("*",), "default", "none", "oldest")])
            for _ in range(20):
                await log.append([event(n=0, text="x" * 2_000) for _ in range(200)])

    asyncio.run(fill())
    with redis.Redis.from_url(server.url) as client:
        before = client.info("stats")["total_net_output_bytes"]
        assert cli.json("status")["handlers"][0]["waiting"] == 4_000
        assert client.info("stats")["total_net_output_bytes"] - before < 100_000


def test_without_redis_it_is_one_line_and_exit_code_3(cli, monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AWR_REDIS_URL", f"unix://{tmp_path}/missing.sock")
    for words in (["status"], ["status", "--json"]):
        code, out, err = cli(*words)
        assert (code, out, len(err.splitlines())) == (3, "", 1)


def test_totals_are_noted_once_a_minute_and_forgotten_after_an_hour(valkey, prefix) -> None:
    async def check(log: EventLog) -> None:
        await log.append([event()])
        await note_totals(log)
        await log.append([event(n=2)])
        await note_totals(log)
        noted = await log.redis.hgetall(log.key("minutes"))
        assert len(noted) <= 2  # a minute may end between the two
        (minute, *_) = sorted(map(int, noted))
        assert [one.accepted for one in await samples(log)][-1] == 2
        await log.redis.delete(log.key("minutes"))
        old = {minute - n: f"{(minute - n) * 60_000} 0 0 0" for n in range(1, 3 * KEPT_MINUTES)}
        await log.redis.hset(log.key("minutes"), mapping={**old, minute + 500: "0 0 0 0"})
        await note_totals(log)
        assert len(await log.redis.hkeys(log.key("minutes"))) <= KEPT_MINUTES + 1

    on_log(valkey.url, prefix, check)


def test_a_rate_is_the_difference_of_two_totals() -> None:
    found = [Sample(n * 60_000, 100 * n, 0, 0) for n in range(10)] + [Sample(600_000, 1_300, 30, 0)]
    assert per_minute(found, 60) == 130
    assert per_minute(found, 5) == (1_300 - 500) / 5
    assert per_minute(found, 5, "duplicates") == 6
    assert per_minute(found[-1:], 5) is None
    assert per_minute([Sample(0, 500, 0, 0), Sample(60_000, 3, 0, 0)], 5) is None  # a log that went back


def _ms(moment: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(moment).timestamp() * 1000


def test_the_screen_of_the_operators_page_is_the_real_one(cli) -> None:
    """Its labels and heads, since its numbers are those of a deployment."""
    guide = (ROOT / "deploy" / "README.md").read_text()
    (shown,) = re.findall(r"```text\n(tenant: .*?)```", guide, re.DOTALL)
    printed = cli("status")[1]

    def labels(text: str) -> list[str]:
        return re.findall(r"^([a-z ]+):", text.partition("\n\n")[0], re.MULTILINE)

    assert labels(shown) == labels(printed)
    (heads,) = [line for line in shown.splitlines() if line.startswith("handler ")]
    assert re.split(r" {2,}", heads) == _HEADS
