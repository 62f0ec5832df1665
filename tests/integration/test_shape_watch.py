"""The watch over the structure of what arrives: shared by receivers, written rarely, told once, and shown."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Sequence
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from redis.exceptions import RedisError

from ampeco.contract.samples import samples
from ampeco.shape_record import decode_shape
from eventlog.connection.connect import connect
from eventlog.inspection.events import list_events
from eventlog.log import EventLog, NewEvent, Unreadable
from eventlog.shapes import MOST_TYPES, stored_shape, stored_shapes
from handlers import Context, Event, handler
from handlers.internal import ShapeDrifted
from receiver.elements import ElementReader
from receiver.metrics import Metrics
from receiver.shape_watch import CHECK_S, MOST_BYTES, SAMPLES, WRITE_S, ShapeWatch
from tests.door import door
from tests.harness import declaration, eventually, on_log, opened
from tests.unit.receiver.test_elements import Delivery

SESSION = "SessionUpdateNotification"
SECRET = "Erika Mustermann"


def event(body: dict[str, Any] | bytes) -> NewEvent:
    element = ElementReader().read(Delivery(body if isinstance(body, bytes) else json.dumps(body).encode()))
    assert not isinstance(element, Unreadable)
    return element


def session(**changes: Any) -> dict[str, Any]:
    body = samples(SESSION)[0].body
    return {**body, "session": {**body["session"], **changes}}


class Watched:
    """A watch of one receiver, with a clock and a list of what was accepted."""

    def __init__(self, log: EventLog) -> None:
        self.now_s = 1_000.0
        self.accepted: list[tuple[float, NewEvent]] = []
        self.metrics = Metrics()
        self.woken: list[str] = []
        self.watch = ShapeWatch(log, self._lately, self.woken.extend, self.metrics, clock=lambda: self.now_s)

    def _lately(self, since_s: float) -> list[NewEvent]:
        return [each for at_s, each in reversed(self.accepted) if at_s >= since_s]

    async def see(self, *bodies: dict[str, Any] | bytes) -> None:
        """Accept one body in each check, and look."""
        for body in bodies:
            self.accepted.append((self.now_s, event(body)))
            self.now_s += 1
            await self.watch.look()
            self.now_s += CHECK_S

    def drifts(self, type_name: str, what: str, against: str) -> float:
        labels = {"type": type_name, "what": what, "against": against}
        return self.metrics.registry.get_sample_value("awr_shape_drifts_total", labels) or 0.0


async def shape_of(log: EventLog, type_name: str) -> Any:
    return decode_shape(await stored_shape(log, type_name))


def test_what_is_seen_is_stored_without_values(on_each_server):
    async def check(log: EventLog) -> None:
        one = Watched(log)
        await one.see(session(userName=SECRET), gzip.compress(json.dumps(session()).encode()))
        record = await stored_shape(log, SESSION)
        assert SECRET.encode() not in record
        shape = decode_shape(record)
        assert shape.samples == 1, "the second one is not news"
        assert shape.paths["session.id"].kinds == {"string": 1}

    on_each_server(check)


def test_it_is_written_for_news_and_else_every_few_minutes(on_each_server):
    async def check(log: EventLog) -> None:
        one, body = Watched(log), session()
        await one.see(*[body] * 10)
        assert (await shape_of(log, SESSION)).samples == 1
        one.now_s += WRITE_S
        await one.see(body)
        assert (await shape_of(log, SESSION)).samples == 11
        await one.see(session(newOne=1))
        assert (await shape_of(log, SESSION)).samples == 12

    on_each_server(check)


def test_two_receivers_share_what_they_learn(on_each_server):
    async def check(log: EventLog) -> None:
        one, other = Watched(log), Watched(log)
        await one.see(session(newOne=1))
        await other.see(session(newOther=1))
        await one.see(
            session(newThird=1), session(newThird=1)
        )  # the first time, it finds that the record moved
        shape = await shape_of(log, SESSION)
        assert {"session.newOne", "session.newOther", "session.newThird"} <= shape.paths.keys()
        assert len([drift for drift in shape.drifts if drift.what == "new-field"]) == 3

    on_each_server(check)


def test_a_drift_is_counted_logged_and_announced_once(valkey, prefix, capsys):
    received: list[ShapeDrifted] = []

    @handler("watcher")
    async def watcher(event: Event[ShapeDrifted], ctx: Context) -> None:
        received.append(event.payload)

    async def check() -> None:
        async with opened(valkey.url, prefix) as log:
            await log.declare([declaration(watcher)])
            one, other = Watched(log), Watched(log)
            odd = session(newOne=1, energy="12,5")
            await one.see(session(), odd, odd)
            await other.see(odd, odd)
            assert one.drifts(SESSION, "new-field", "contract") == 1
            assert one.drifts(SESSION, "other-kind", "contract") == 1
            assert other.drifts(SESSION, "new-field", "contract") == 0
            assert one.woken == ["default"]
            (announced,) = [each for each in await list_events(log) if each.type == "receiver.shape.drifted"]
            assert announced.key == f"shape:{SESSION}"
            assert json.loads(announced.body) == {
                "notification": "receiver.shape.drifted",
                "eventType": SESSION,
                "paths": ["session.energy", "session.newOne"],
            }
            from tests.harness import drained

            await drained(log, watcher)
            assert [(each.event_type, each.paths) for each in received] == [
                (SESSION, ("session.energy", "session.newOne"))
            ]

    asyncio.run(check())


def test_a_type_that_the_contract_does_not_have_drifts_from_what_was_seen(on_each_server):
    async def check(log: EventLog) -> None:
        one = Watched(log)
        await one.see(*[{"notification": "acme.new", "thing": {"id": n}} for n in range(60)])
        one.now_s += WRITE_S
        await one.see({"notification": "acme.new", "thing": {"id": 1}})
        await one.see({"notification": "acme.new", "thing": {"id": "text", "more": 1}})
        assert one.drifts("(other)", "new-field", "seen") == 1
        assert one.drifts("(other)", "other-kind", "seen") == 1

    on_each_server(check)


def test_few_bodies_are_looked_at_each_time_and_those_of_rare_types_first(on_each_server):
    async def check(log: EventLog) -> None:
        one = Watched(log)
        for number in range(20):
            one.accepted.append((one.now_s, event({"notification": f"t{number}"})))
        one.accepted += [(one.now_s, event(session())) for _ in range(600)]
        one.accepted.append((one.now_s, event({"notification": "large", "text": "x" * (MOST_BYTES + 1)})))
        await one.watch.look()
        sampled = [name for name, each in one.watch._types.items() if each.new.samples or each.record]
        assert sampled == [SESSION], "only the newest are looked through"
        one.accepted = one.accepted[:20]
        for _ in range(5):
            await one.watch.look()
        assert len(one.watch._types) == 21
        assert SAMPLES * 5 == 20

    on_each_server(check)


def test_senders_cannot_fill_redis_with_types(on_each_server):
    async def check(log: EventLog) -> None:
        await log.redis.hset(log.key("shapes"), mapping={f"t{n}": b"{}" for n in range(MOST_TYPES)})
        one = Watched(log)
        await one.see({"notification": "one.more"}, session(), {"notification": "one.more", "a": 1})
        assert len(await stored_shapes(log)) == MOST_TYPES + 1
        assert await stored_shape(log, SESSION) != b""

    on_each_server(check)


def test_the_record_of_a_newer_version_is_left_alone(on_each_server):
    async def check(log: EventLog) -> None:
        record = b'{"v":2}'
        await log.redis.hset(log.key("shapes"), SESSION, record)
        one = Watched(log)
        await one.see(session(), session(newOne=1), {"notification": "another"})
        assert await stored_shape(log, SESSION) == record
        assert await stored_shape(log, "another") != b""

    on_each_server(check)


def test_with_redis_away_nothing_is_lost_and_nothing_breaks(valkey, prefix):
    async def check() -> None:
        async with connect("unix:///missing.sock") as away:
            one = Watched(EventLog(away, prefix=prefix, lanes=4))
            with pytest.raises((RedisError, OSError)):
                await one.see(session())
            one.now_s += CHECK_S
            async with opened(valkey.url, prefix) as log:
                one.watch._events = log
                await one.watch.look()
                assert (await shape_of(log, SESSION)).samples == 1

    asyncio.run(check())


def test_a_fault_of_ours_ends_nothing(on_each_server, monkeypatch):
    async def check(log: EventLog) -> None:
        one = Watched(log)
        monkeypatch.setattr("receiver.shape_watch.observed", lambda *_: 1 / 0)
        await one.see(session())

    on_each_server(check)


def test_the_command_shows_fields_as_a_table_as_json_and_as_json_schema(cli, valkey, prefix):
    assert "no receiver has looked" in cli("events", "shapes")[1]
    assert cli.json("events", "shapes") == []
    assert json.loads(cli("events", "shapes", "--json-schema")[1]).keys() == {"$schema"}
    odd = {**session(newOne=1), "people": {f"{SECRET}@x.de": 1}}

    async def fill(log: EventLog) -> None:
        one = Watched(log)
        await one.see(session(), odd, {"notification": "evil\x1b[2J", "a": 1})

    on_log(valkey.url, prefix, fill)
    code, out, _ = cli("events", "shapes")
    assert code == 0
    assert "\x1b" not in out
    assert "Mustermann" not in out
    assert f"{SESSION}: 2 samples" in out
    assert "session.newOne" in out
    assert "new-field, against the contract" in out
    assert "the contract does not describe this type" in out

    (document,) = cli.json("events", "shapes", "--type", SESSION)
    fields = {each["path"]: each for each in document["fields"]}
    assert (document["in_contract"], document["complete"], document["samples"]) == (True, True, 2)
    assert fields["session.id"]["kinds"] == {"string": 2}
    assert (fields["session.id"]["optional"], fields["session.id"]["contract"]) == (False, "fits")
    assert (fields["people.*"]["kinds"], fields["people.*"]["contract"]) == ({"integer": 1}, "not-documented")
    assert (fields["people"]["optional"], fields["session.newOne"]["optional"]) == (True, True)
    assert fields["session.id"]["last_seen_at"].endswith("Z")
    assert "Mustermann" not in json.dumps(document)

    schema = json.loads(cli("events", "shapes", "--type", SESSION, "--json-schema")[1])
    Draft202012Validator.check_schema(schema)
    assert Draft202012Validator(schema).is_valid(odd)
    assert not Draft202012Validator(schema).is_valid({**odd, "session": []})
    every = json.loads(cli("events", "shapes", "--json-schema")[1])
    assert len(every["anyOf"]) == 2

    code, _, err = cli("events", "shapes", "--type", "never.seen")
    assert code == 2
    assert "never.seen" in err


def test_the_command_names_records_that_it_cannot_read(cli, valkey, prefix):
    on_log(valkey.url, prefix, lambda log: log.redis.hset(log.key("shapes"), "x", b'{"v":2}'))
    code, _, err = cli("events", "shapes")
    assert code == 0
    assert "another version" in err


def test_redis_away_is_exit_code_3(cli, monkeypatch):
    monkeypatch.setenv("AWR_REDIS_URL", "unix:///missing.sock")
    assert cli("events", "shapes")[0] == 3


def test_a_real_receiver_learns_what_arrives_and_says_what_differs(cli, valkey, prefix):
    async def learned(paths: Sequence[str]) -> None:
        async with opened(valkey.url, prefix) as log:

            async def is_there() -> bool:
                record = await stored_shape(log, SESSION)
                return bool(record) and set(paths) <= decode_shape(record).paths.keys()

            await eventually(is_there)

    with door(valkey.url, prefix) as front:
        assert front.post(json.dumps(session(id="1")).encode()).status == 202
        asyncio.run(learned(["session.id"]))
        name = f'awr_shape_drifts_total{{against="contract",type="{SESSION}",what="new-field"}}'
        assert front.metric(name) == 0
        assert front.post(json.dumps(session(id="2", newOne=1)).encode()).status == 202
        asyncio.run(learned(["session.newOne"]))
        line = front.line("shape.drifted", notification=SESSION)
        assert line["fields"] == ["session.newOne: new-field"]
        assert front.metric(name) == 1
    assert cli.json("events", "shapes", "--type", SESSION)[0]["drifts"][0]["path"] == "session.newOne"
