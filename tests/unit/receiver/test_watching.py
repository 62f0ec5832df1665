"""The background tasks of the receiver: health, heartbeat, counted log lines, secret files."""

import asyncio
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import redis.exceptions
from structlog.testing import capture_logs

from eventlog.errors import LogMismatch
from eventlog.heartbeat import Hole
from eventlog.internal import InternalEvent
from eventlog.log import Answer
from receiver.endpoint_log import REFUSALS_PER_S, EndpointLog
from receiver.errors import SettingsError
from receiver.health import Health
from receiver.heartbeat import HOLE_AFTER_MS, Heartbeat
from receiver.metrics import Metrics
from receiver.secret_files import SecretFiles
from receiver.settings import Settings, load


class Lines:
    """Collects log lines."""

    def __init__(self) -> None:
        self.written: list[tuple[str, dict[str, Any]]] = []

    def _line(self, event: str, **fields: Any) -> None:
        self.written.append((event, fields))

    debug = info = warning = error = _line


class Redis:
    """A Redis that is there or not."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.foreign: LogMismatch | None = None
        self.claims = 0

    async def probe(self) -> None:
        if self.error:
            raise self.error

    async def claim(self) -> None:
        self.claims += 1
        if self.foreign:
            raise self.foreign


def test_ready_only_when_redis_takes_writes_and_the_log_is_ours() -> None:
    async def scenario() -> None:
        server = Redis()
        health = Health(server.probe, server.claim, Metrics())
        assert health.reasons() == ["not-checked", "log-not-claimed"]
        assert await health.check()
        assert await health.check()
        assert (health.reasons(), server.claims) == ([], 1)
        server.error = redis.exceptions.ConnectionError()
        assert not await health.check()
        assert health.reasons() == ["redis-unreachable"]
        server.error = None
        assert await health.check()
        assert health.reasons() == []

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (redis.exceptions.ReadOnlyError(), "redis-read-only"),
        (redis.exceptions.OutOfMemoryError(), "redis-full"),
        (redis.exceptions.AuthenticationError(), "redis-login-refused"),
        (redis.exceptions.TimeoutError(), "redis-unreachable"),
        (OSError(), "redis-unreachable"),
    ],
)
def test_says_what_is_wrong_with_redis(error: Exception, reason: str) -> None:
    server = Redis()
    server.error = error
    health = Health(server.probe, server.claim, Metrics())
    assert not asyncio.run(health.check())
    assert reason in health.reasons()


def test_redis_away_is_said_once_per_backoff_step_and_then_that_it_is_back() -> None:
    async def scenario() -> list[tuple[float, str]]:
        now_s, said, server, lines = 0.0, [], Redis(), Lines()
        server.error = redis.exceptions.ConnectionError()
        health = Health(server.probe, server.claim, Metrics(), clock=lambda: now_s, log=lines)
        while now_s < 70:
            server.error = server.error if now_s < 65 else None
            await health.check()
            said += [(now_s, event) for event, _ in lines.written]
            lines.written.clear()
            now_s += 1
        return said

    away = [(at, "redis.unreachable") for at in (0.0, 1.0, 3.0, 7.0, 15.0, 31.0, 61.0)]
    assert asyncio.run(scenario()) == [*away, (65.0, "redis.recovered")]


def test_a_log_of_another_tenant_is_not_waited_for() -> None:
    server = Redis()
    server.foreign = LogMismatch("AWR_TENANT_URL", "is another's", "move")
    with pytest.raises(LogMismatch):
        asyncio.run(Health(server.probe, server.claim, Metrics()).check())


def test_registration_counts_and_stopping_counts() -> None:
    async def scenario() -> None:
        server = Redis()
        health = Health(server.probe, server.claim, Metrics())
        health.registration = lambda: (False, "pending")
        await health.check()
        assert health.reasons() == ["registration-pending"]
        health.registration = lambda: (True, "nothing-wanted")
        assert health.report(["k"])["registration"] == "nothing-wanted"
        health.stopping = True
        assert health.reasons() == ["stopping"]

    asyncio.run(scenario())


class Door:
    """What the log remembers of the receiver."""

    def __init__(self, hole: Hole | None, *, first: bool = True) -> None:
        self.hole = hole
        self.first = first
        self.closed: list[tuple[Any, ...]] = []
        self.announced: list[InternalEvent] = []

    async def beat(self, replica: str, *, hole_after_ms: int) -> Hole | None:
        assert hole_after_ms == HOLE_AFTER_MS
        return self.hole

    async def close_gap(
        self, replica: str, hole: Hole, types: Sequence[str], callback_url: str | None
    ) -> tuple[str, list[str]] | None:
        self.closed.append((replica, hole, list(types), callback_url))
        return ("3-1-0", ["default"]) if self.first else None

    async def wanted_types(self) -> frozenset[str]:
        return frozenset({"b", "a", "receiver.gap.closed"})

    async def announce(self, event: InternalEvent) -> list[str]:
        self.announced.append(event)
        return []


def beat(door: Door, remembered: dict[str, str]) -> list[str]:
    woken: list[str] = []

    async def read() -> dict[str, str]:
        return remembered

    async def scenario() -> None:
        await Heartbeat(
            door, read, woken.extend, replica="r1", callback_url="https://us/x", metrics=Metrics()
        ).beat()

    asyncio.run(scenario())
    return woken


def test_a_hole_becomes_a_gap_of_the_subscribed_types() -> None:
    door = Door(Hole(1_000, 9_000))
    assert beat(door, {"types": "x,y", "callback_url": "https://us/old"}) == ["default"]
    assert door.closed == [("r1", Hole(1_000, 9_000), ["x", "y"], "https://us/old")]


def test_without_a_remembered_subscription_the_wanted_types_are_named() -> None:
    door = Door(Hole(1_000, 9_000))
    beat(door, {})
    assert door.closed == [("r1", Hole(1_000, 9_000), ["a", "b"], "https://us/x")]


def test_no_hole_no_gap_and_one_that_another_replica_closed_wakes_nobody() -> None:
    assert beat(door := Door(None), {}) == []
    assert door.closed == []
    assert beat(Door(Hole(1, 9_000), first=False), {}) == []


def test_the_first_beat_announces_the_start_and_later_ones_do_not() -> None:
    door = Door(None)

    async def read() -> dict[str, str]:
        return {}

    async def scenario() -> None:
        heartbeat = Heartbeat(door, read, [].extend, replica="host-1", callback_url=None, metrics=Metrics())
        await heartbeat.beat()
        await heartbeat.beat()

    asyncio.run(scenario())
    (started,) = door.announced
    assert (started.type, started.key) == ("receiver.started", "receiver:door")
    assert json.loads(started.body)["replica"] == "host-1"


def test_a_flood_of_refusals_is_counted_not_written() -> None:
    now_s, lines, metrics = [100.0], Lines(), Metrics()
    door = EndpointLog(metrics, lambda queues: None, clock=lambda: now_s[0], log=lines)
    for _ in range(10_000):
        door.refused("signature-missing")
    assert len(lines.written) == REFUSALS_PER_S
    door.flush()
    assert lines.written[-1] == ("event.rejected", {"reason": "more", "events": 10_000 - REFUSALS_PER_S})
    now_s[0] += 1
    door.refused("signature-missing")
    assert lines.written[-1] == ("event.rejected", {"reason": "signature-missing"})
    refused = metrics.registry.get_sample_value("awr_events_refused_total", {"reason": "signature-missing"})
    assert refused == 10_001


def test_accepted_events_are_one_line_a_second_and_queues_are_woken() -> None:
    lines, metrics, woken = Lines(), Metrics(), []  # type: ignore[var-annotated]
    door = EndpointLog(metrics, woken.extend, log=lines)
    for _ in range(100):
        duplicate = Answer("duplicate", reason="equal-body")
        door.appended([Answer("accepted", "0-1-0"), duplicate], ["default"], 0.001)
    for id_, reason in (("1-0", "not-json"), ("2-0", "not-json"), ("3-0", "no-object")):
        door.appended([Answer("quarantined", id_, reason)], [], 0.001)
    assert lines.written == []
    door.flush()
    door.flush()
    assert lines.written == [
        ("event.accepted", {"events": 100}),
        ("event.duplicate", {"events": 100, "reasons": {"equal-body": 100}}),
        (
            "event.quarantined",
            {"events": 3, "event_id": "3-0", "reasons": {"not-json": 2, "no-object": 1}},
        ),
    ]
    assert len(woken) == 100
    assert metrics.registry.get_sample_value("awr_events_accepted_total") == 100
    assert metrics.registry.get_sample_value("awr_append_batch_events_count") == 103


def test_errors_of_redis_are_one_line_a_second() -> None:
    lines = Lines()
    door = EndpointLog(Metrics(), lambda queues: None, log=lines)
    for _ in range(1_000):
        door.append_refused("OutOfMemoryError")
    assert lines.written == []
    door.flush()
    door.flush()
    assert lines.written == [("append.refused", {"errors": {"OutOfMemoryError": 1_000}})]


def _mounted(folder: Path, version: str, token: str) -> None:
    """As Kubernetes mounts a secret: a new folder, and one link switched over to it."""
    data = folder / f"..{version}"
    data.mkdir()
    (data / "AWR_API_TOKEN").write_text(token)
    (folder / "..tmp").symlink_to(data)
    (folder / "..tmp").rename(folder / "..data")
    if not (folder / "AWR_API_TOKEN").is_symlink():
        (folder / "AWR_API_TOKEN").symlink_to(Path("..data") / "AWR_API_TOKEN")


def test_a_switched_mount_is_noticed_and_nothing_is_read_twice(tmp_path: Path) -> None:
    _mounted(tmp_path, "1", "one")
    seen: list[str] = []

    def changed(settings: Settings) -> None:
        assert settings.api_token is not None
        seen.append(settings.api_token.get_secret_value())

    files = SecretFiles(tmp_path, lambda: load({"AWR_SECRETS_DIR": str(tmp_path)}), changed)
    _checked(files)
    _mounted(tmp_path, "2", "two")
    _checked(files)
    _checked(files)
    assert seen == ["one", "two"]


def _checked(files: SecretFiles) -> None:
    """A change counts at the second check after it."""
    files.check()
    files.check()


def test_half_a_file_is_never_read(tmp_path: Path) -> None:
    path = tmp_path / "AWR_SIGNING_KEYS"
    path.write_text("a-key-of-last-year")
    seen: list[list[str]] = []
    files = SecretFiles(
        tmp_path,
        lambda: load({"AWR_SECRETS_DIR": str(tmp_path)}),
        lambda settings: seen.append([key.get_secret_value() for key in settings.signing_keys or ()]),
    )
    _checked(files)
    with capture_logs() as lines:
        for written in ("", "a-key", "a-key-of-this-year,a-", "a-key-of-this-year,a-key-of-last-year"):
            path.write_text(written)  # as a program writes that is slow, or a person with `cat >`
            files.check()
    files.check()
    assert seen == [["a-key-of-last-year"], ["a-key-of-this-year", "a-key-of-last-year"]]
    assert lines == []


def test_a_file_that_is_written_again_and_again_counts(tmp_path: Path) -> None:
    path = tmp_path / "AWR_API_TOKEN"
    seen: list[Settings] = []
    files = SecretFiles(tmp_path, lambda: load({"AWR_SECRETS_DIR": str(tmp_path)}), seen.append)
    for at in range(6):
        path.write_text("one" if at < 3 else "two")
        os.utime(path, (at, at))
        files.check()
    assert len(seen) == 2


def test_a_change_that_cannot_be_read_changes_nothing_until_it_can(tmp_path: Path) -> None:
    path = tmp_path / "AWR_API_TOKEN"
    path.write_text("one")
    seen: list[Settings] = []
    files = SecretFiles(tmp_path, lambda: load({"AWR_SECRETS_DIR": str(tmp_path)}), seen.append)
    path.write_text("")
    _checked(files)
    assert seen == []
    path.write_text("three")
    os.utime(path, ns=(1, 1))
    _checked(files)
    assert len(seen) == 1


def test_a_reload_that_fails_is_not_fatal(tmp_path: Path) -> None:
    def refuse() -> Settings:
        raise SettingsError("AWR_PORT", "is odd", "fix it")

    files = SecretFiles(tmp_path, refuse, lambda settings: None)
    (tmp_path / "AWR_PORT").write_text("x")
    _checked(files)
