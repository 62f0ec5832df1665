"""`registration watch` as a process of its own, while the receiver has signing keys and no API token."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ampeco.signature import SigningKey
from ampeco.simulator.testing import Box, tenant_in_a_box
from commands.demo_stack import free_port
from eventlog.clock import now_ms
from eventlog.connection.embedded import EmbeddedServer
from eventlog.gap_records import Gaps
from eventlog.inspection.gaps import recorded_gaps
from eventlog.registry import Declaration
from receiver.gap_keeper import GapKeeper
from receiver.metrics import Metrics
from tests.door import awr, door
from tests.harness import opened, soon

KEY = "the-key-that-receivers-have"
TYPE = "cdr.received"


class Watch:
    """One `registration watch`; its admin port is open when the constructor returns."""

    def __init__(self, environ: dict[str, str], log: Path) -> None:
        self._log = log
        with log.open("wb") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "commands", "registration", "watch"], stderr=stderr, env=environ
            )
        soon(lambda: bool(self.lines("registration_watch.started")))
        self.admin_port = self.lines("registration_watch.started")[0]["admin_port"]

    def lines(self, event: str) -> list[dict[str, Any]]:
        """Every finished log line of this event until now."""
        whole = [line for line in self._log.read_text().splitlines(keepends=True) if line.endswith("\n")]
        return [line for line in map(json.loads, whole) if line["event"] == event]

    def get(self, path: str) -> tuple[int, str]:
        """Ask the admin port."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.admin_port}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def reasons(self) -> list[str]:
        """Why it is not ready."""
        found: list[str] = json.loads(self.get("/health/ready")[1])["reasons"]
        return found


@pytest.fixture
def tenant() -> Iterator[Box]:
    with tenant_in_a_box(token=KEY) as box:
        yield box


@pytest.fixture
def environ(tenant: Box, valkey: EmbeddedServer, prefix: str) -> dict[str, str]:
    """The settings of the watch; a handler wants one type."""

    async def declare() -> None:
        async with opened(valkey.url, prefix) as log:
            await log.declare([Declaration("h", "v1", (TYPE,), "default", "none", "now")])

    asyncio.run(declare())
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("AWR_", "RQ_"))}
    return {
        **clean,
        "AWR_REDIS_URL": valkey.url,
        "AWR_KEY_PREFIX": prefix,
        "AWR_LANES": "4",
        "AWR_TENANT_URL": tenant.url,
        "AWR_PUBLIC_URL": f"http://127.0.0.1:{free_port()}",
        "AWR_API_TOKEN": KEY,
        "AWR_ADMIN_PORT": "0",
        "AWR_REGISTRATION_CHECK_S": "5",
    }


@contextlib.contextmanager
def watching(environ: dict[str, str], folder: Path) -> Iterator[Watch]:
    watch = Watch(environ, folder / "watch.log")
    try:
        yield watch
    finally:
        if watch.process.poll() is None:
            watch.process.kill()
            watch.process.wait(60)


def receiver_of(environ: dict[str, str], key: str = KEY) -> dict[str, str | None]:
    """What a receiver gets: the same tenant and URL, and keys in place of the token."""
    return {
        "AWR_TENANT_URL": environ["AWR_TENANT_URL"],
        "AWR_PUBLIC_URL": environ["AWR_PUBLIC_URL"],
        "AWR_PORT": environ["AWR_PUBLIC_URL"].rpartition(":")[2],
        "AWR_REGISTER": "off",
        "AWR_API_TOKEN": None,
        "AWR_SIGNING_KEYS": key,
    }


def ids(tenant: Box) -> list[str]:
    return [str(one["id"]) for one in tenant.state()["subscriptions"]]


def test_a_subscription_deleted_by_hand_is_restored_while_the_receiver_has_only_keys(
    tenant: Box, environ: dict[str, str], valkey: EmbeddedServer, prefix: str, tmp_path: Path
) -> None:
    with (
        door(valkey.url, prefix, receiver_of(environ)) as front,
        watching(environ, tmp_path) as watch,
    ):
        soon(lambda: watch.get("/health/ready")[0] == 200)
        [first] = ids(tenant)
        with tenant.sync_client() as client:
            client.notifications.unsubscribe(first)
        soon(lambda: bool(watch.lines("notification_subscription.lost")))
        soon(lambda: len(ids(tenant)) == 1 and ids(tenant) != [first])
        tenant.send(TYPE)
        tenant.wait(lambda state: state["delivered"] >= 1)
        assert front.metric("awr_events_accepted_total") >= 1

        metrics = watch.get("/metrics")[1]
        assert "awr_registered 1.0" in metrics
        assert "awr_ready" not in metrics, "it would hide that no receiver is ready"
        families = [line.split()[2] for line in metrics.splitlines() if line.startswith("# TYPE")]
        assert len(families) == len(set(families)), "Prometheus takes a series once"

        def log_bytes() -> list[str]:
            return [
                line for line in watch.get("/metrics")[1].splitlines() if line.startswith("awr_log_bytes ")
            ]

        soon(lambda: log_bytes() not in ([], ["awr_log_bytes 0.0"]))
        families = [line.split()[2] for line in watch.get("/metrics")[1].splitlines() if "# TYPE" in line]
        assert len(families) == len(set(families)), "of two values of a series, Prometheus drops one"

        watch.process.terminate()
        assert watch.process.wait(60) == 0
        assert watch.lines("registration_watch.stopped")
        assert len(ids(tenant)) == 1, "the subscription outlives the process"
        assert KEY not in (tmp_path / "watch.log").read_text()


def test_a_tombstone_is_respected_until_apply(tenant: Box, environ: dict[str, str], tmp_path: Path) -> None:
    with watching(environ, tmp_path) as watch:
        soon(lambda: len(ids(tenant)) == 1)
        assert awr("registration", "remove", "--yes", environ=environ).code == 0
        soon(lambda: bool(watch.lines("notification_subscription.stays_removed")))
        assert ids(tenant) == []
        assert awr("registration", "apply", "--yes", environ=environ).code == 0
        soon(lambda: '"registration": "registered"' in watch.get("/health/ready")[1])
        assert len(ids(tenant)) == 1


def test_it_is_not_ready_when_a_receiver_refuses_what_the_subscription_signs(
    environ: dict[str, str], valkey: EmbeddedServer, prefix: str, tmp_path: Path
) -> None:
    with (
        door(valkey.url, prefix, receiver_of(environ, "another-key-of-a-receiver")),
        watching(environ, tmp_path) as watch,
    ):
        soon(lambda: watch.reasons() == ["registration-key-not-accepted"])
        soon(lambda: bool(watch.lines("notification_subscription.key_not_accepted")))
        line = watch.lines("notification_subscription.key_not_accepted")[0]
        assert line["key_id"] == SigningKey.of(KEY).key_id


def test_the_token_is_rotated_while_receivers_have_only_keys(
    tenant: Box, environ: dict[str, str], valkey: EmbeddedServer, prefix: str, tmp_path: Path
) -> None:
    """As deploy/README.md says: both keys at the receivers, the command where the token is, then the new one."""
    new = "the-key-that-takes-over"
    tenant.add_token(new)
    keys, tokens = tmp_path / "keys", tmp_path / "tokens"
    for folder, name in ((keys, "AWR_SIGNING_KEYS"), (tokens, "AWR_API_TOKEN")):
        folder.mkdir()
        (folder / name).write_text(KEY)
    with_files = {**environ, "AWR_SECRETS_DIR": str(tokens)}
    del with_files["AWR_API_TOKEN"]
    of_receiver = {**receiver_of(environ), "AWR_SIGNING_KEYS": None, "AWR_SECRETS_DIR": str(keys)}
    rotate = ("registration", "rotate-token", "--overlap", "0", "--wait", "60")
    with door(valkey.url, prefix, of_receiver) as front, watching(with_files, tmp_path) as watch:
        soon(lambda: watch.get("/health/ready")[0] == 200)
        [first] = ids(tenant)
        (keys / "AWR_SIGNING_KEYS").write_text(f"{KEY}\n{new}")
        (tokens / "AWR_API_TOKEN_NEXT").write_text(new)
        front.line("signing_keys.changed")
        command = subprocess.Popen(
            [sys.executable, "-m", "commands", *rotate], env=with_files, stderr=subprocess.DEVNULL
        )
        while command.poll() is None:
            tenant.send(TYPE)
            time.sleep(0.2)
        assert command.returncode == 0
        (tokens / "AWR_API_TOKEN").write_text(new)
        (tokens / "AWR_API_TOKEN_NEXT").unlink()
        (keys / "AWR_SIGNING_KEYS").write_text(new)
        soon(lambda: bool(watch.lines("api_token.changed")))
        soon(lambda: front.ready()["accepted_key_ids"] == [SigningKey.of(new).key_id])
        assert awr(*rotate, "--continue", environ=with_files).code == 0
        soon(lambda: watch.reasons() == [])
        [kept] = ids(tenant)
        assert kept != first
        metrics = front.get("/metrics", admin=True).body.decode()
        assert 'awr_events_refused_total{reason="signature' not in metrics


@pytest.mark.parametrize(("hours", "is_said"), [(1, False), (3, True), (24 * 8, False)])
def test_status_says_when_nothing_checks(
    environ: dict[str, str], valkey: EmbeddedServer, prefix: str, hours: int, is_said: bool
) -> None:
    """An hour is the longest time between two checks. After a week, registration is off on purpose."""

    async def checked() -> None:
        async with opened(valkey.url, prefix) as log:
            looked_ms = now_ms() - hours * 3_600_000
            await log.redis.hset(
                log.key("registration"), mapping={"state": "registered", "looked_ms": looked_ms}
            )

    asyncio.run(checked())
    done = awr("status", environ=environ)
    assert done.code == 0
    assert ("nothing has checked the registration for 3 hours" in done.out) is is_said


def test_it_refuses_to_watch_what_is_off(environ: dict[str, str]) -> None:
    done = awr("registration", "watch", environ={**environ, "AWR_REGISTER": "off"})
    assert done.code == 2
    assert "AWR_REGISTER" in done.err
    assert "Traceback" not in done.err


def test_a_receiver_without_a_token_leaves_gaps_to_the_process_that_has_one(
    valkey: EmbeddedServer, prefix: str
) -> None:
    async def scenario() -> None:
        async with opened(valkey.url, prefix) as log:
            await Gaps(log).note("not-subscribed", 1_000, 2_000, [TYPE])
            keeper = GapKeeper(log, None, (TYPE,), after_s=0, metrics=Metrics(), is_open=lambda: True)
            await Gaps(log).note_comparer(now_ms())
            await keeper.check()
            assert [gap.state for gap in await recorded_gaps(log)] == ["open"]
            await log.redis.delete(log.key("comparer"))
            await keeper.check()
            assert [gap.state for gap in await recorded_gaps(log)] == ["unproven"]

    asyncio.run(scenario())


def test_after_an_outage_of_hours_a_gap_waits_for_the_process_with_the_token(
    valkey: EmbeddedServer, prefix: str
) -> None:
    """Redis was away for both, and the receiver is the first to have it back."""
    minute_ms, now = 60_000, now_ms()

    async def scenario() -> None:
        async with opened(valkey.url, prefix) as log:
            at_ms = now
            keeper = GapKeeper(
                log,
                None,
                (TYPE,),
                after_s=0,
                metrics=Metrics(),
                is_open=lambda: True,
                clock=lambda: at_ms,
            )
            await Gaps(log).note_comparer(now - 180 * minute_ms)
            await Gaps(log).note("not-subscribed", now - 180 * minute_ms, now, [TYPE])
            states = []
            for minutes in (0, 9, 10):
                at_ms = now + minutes * minute_ms
                await keeper.check()
                states += [gap.state for gap in await recorded_gaps(log)]
            assert states == ["open", "open", "unproven"], "it does not come back, so nothing else is proven"

    asyncio.run(scenario())
