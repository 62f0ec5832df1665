"""Rotating the API token under traffic: nothing refused, nothing lost, at whatever point the command is killed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import pytest

from ampeco.signature import SigningKey
from ampeco.simulator.switches import Habits
from eventlog.rotation import rotation
from eventlog.subscription import SubscriptionStore
from tests.door import Outcome
from tests.harness import eventually, opened
from tests.traffic import DATED, Deployment, Traffic, arrived, deployment

OLD, NEW = "token-that-goes-away", "token-that-takes-over"
OLD_KEY, NEW_KEY = SigningKey.of(OLD).key_id, SigningKey.of(NEW).key_id
POINTS = ["begun", "subscribing", "posted", "subscribed", "delivering", "unsubscribed", "removed", "dropped"]

# The command, in a process that ends itself with SIGKILL at one of the points that a rotation reaches.
KILLED = """
import os, signal, sys
from commands.token_rotation import rotate
from receiver.token_rotation import Patience

def say(point, text):
    print(point, flush=True)
    if point == sys.argv[1]:
        os.kill(os.getpid(), signal.SIGKILL)

rotate(Patience(60, 60, 1.0), say=say, go_on=sys.argv[2] == "continue")
"""

# The command line, which says when a rotation begins to wait for receivers.
WAITS = """
import sys
from commands import main
from receiver.token_rotation import TokenRotation

waits = TokenRotation._wait_for_receivers

async def saying(rotating):
    print("waits", file=sys.stderr, flush=True)
    await waits(rotating)

TokenRotation._wait_for_receivers = saying
main()
"""


async def started(where: Deployment, *arguments: str) -> asyncio.subprocess.Process:
    """Start Python with the settings of a deployment."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("AWR_", "RQ_"))}
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *arguments,
        env={**clean, **where.environ},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def outcome(running: asyncio.subprocess.Process) -> Outcome:
    """Wait for its end."""
    out, err = await asyncio.wait_for(running.communicate(), 180)
    return Outcome(running.returncode or 0, out.decode(), err.decode())


async def process(where: Deployment, *arguments: str) -> Outcome:
    """Run Python with the settings of a deployment."""
    return await outcome(await started(where, *arguments))


async def rotate(where: Deployment, *options: str) -> Outcome:
    words = ("registration", "rotate-token", "--overlap", "1", "--wait", "60", *options)
    return await process(where, "-m", "commands", *words)


async def all_arrived(where: Deployment, traffic: Traffic) -> None:
    """Every notification that AMPECO sent is an event: a dated one once, an undated one possibly twice and marked."""
    async with opened(where.environ["AWR_REDIS_URL"], where.environ["AWR_KEY_PREFIX"]) as log:
        found, marked = await arrived(log)
    assert traffic.unsent == []
    # On a slow machine AMPECO may still be sending to the old subscription when the overlap is over.
    assert set(traffic.sent) - found.keys() <= traffic.dropped()
    twice = {body for body, count in found.items() if count > 1}
    assert [body for body in twice if json.loads(body)["notification"] == DATED] == []
    assert twice <= marked
    assert {status: count for status, count in where.tenant.answers.items() if status != "202"} == {}


@pytest.mark.parametrize("point", POINTS)
def test_killed_after_each_step_and_resumed_it_loses_refuses_and_repeats_nothing(
    valkey, prefix, tmp_path: Path, point: str
) -> None:
    async def scenario() -> None:
        async with deployment(valkey.url, prefix, tmp_path, OLD) as where:
            where.tenant.add_token(NEW)
            traffic = Traffic(where.tenant)
            async with traffic.running():
                where.secret("AWR_API_TOKEN_NEXT", NEW)
                if point != "dropped":
                    ended = await process(where, "-c", KILLED, point, "start")
                    assert (ended.code, ended.out.split()[-1]) == (-9, point), ended
                    if point != "removed":
                        resumed = await rotate(where, "--continue")
                        assert resumed.code == 0, resumed
                else:
                    assert (await rotate(where)).code == 0
                assert len(where.tenant.subscriptions) == 1
                where.secret("AWR_API_TOKEN", NEW)
                where.secret("AWR_API_TOKEN_NEXT", None)
                if point == "dropped":
                    ended = await process(where, "-c", KILLED, point, "continue")
                    assert (ended.code, ended.out.split()[-1]) == (-9, point), ended
                done = await rotate(where, "--continue")
                assert done.code == 0, done
                where.tenant.remove_token(OLD_KEY)
                await accepts(where, NEW_KEY)
                await asyncio.sleep(0.5)
            await all_arrived(where, traffic)
            async with opened(valkey.url, prefix) as log:
                store = SubscriptionStore(log)
                assert await rotation(log) is None
                assert await store.two_since() is None
                stored = await store.read()
            (left,) = where.tenant.subscriptions.values()
            assert (stored["id"], stored["key_id"], left.key.key_id) == (str(left.id), NEW_KEY, NEW_KEY)

    asyncio.run(scenario())


async def accepts(where: Deployment, *key_ids: str) -> None:
    async def holds() -> bool:
        report = await asyncio.to_thread(where.front.ready)
        return bool(report["accepted_key_ids"] == list(key_ids))

    await eventually(holds)


def test_no_token_is_stored_shown_or_logged_and_a_dry_run_changes_nothing(
    valkey, prefix, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with deployment(valkey.url, prefix, tmp_path, OLD) as where:
            where.tenant.add_token(NEW)
            file = tmp_path / "next-token"
            file.write_text(f"{NEW}\n")
            calls = len(where.tenant.calls)
            plan = await rotate(where, "--dry-run", "--token-file", str(file), "--json")
            document = json.loads(plan.out)
            assert (document["old_key_id"], document["new_key_id"]) == (OLD_KEY, NEW_KEY)
            assert len(document["receivers_without_the_new_key"]) == 1
            assert [call.operation for call in [*where.tenant.calls][calls:] if call.method != "GET"] == []
            where.secret("AWR_API_TOKEN_NEXT", NEW)
            await accepts(where, OLD_KEY, NEW_KEY)
            traffic = Traffic(where.tenant, 50)
            async with traffic.running():
                ran = await rotate(where, "--json")
            assert ran.code == 0, ran
            document = json.loads(ran.out)
            assert document["rotation"]["step"] == "removed"
            assert any("AWR_API_TOKEN" in line for line in document["next"])
            assert [one["step"] for one in document["reached"]] == POINTS[:-1]
            async with opened(valkey.url, prefix) as log:
                texts = [await log.redis.dump(key) async for key in log.redis.scan_iter(match=f"{prefix}*")]
            said = f"{plan} {ran} {where.front.lines}"
            for token in (OLD, NEW):
                assert token not in said
                assert not [text for text in texts if token.encode() in text]

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "habits",
    [
        Habits(listing_scope="own"),
        Habits(update_changes_key=True),
        Habits(webhook_headers="all"),
        Habits(created_status=200),
    ],
    ids=["own", "key", "headers", "status"],
)
def test_it_does_not_depend_on_what_ampeco_leaves_open(
    valkey, prefix, tmp_path: Path, habits: Habits
) -> None:
    async def scenario() -> None:
        async with deployment(valkey.url, prefix, tmp_path, OLD, habits=habits) as where:
            where.tenant.add_token(NEW)
            traffic = Traffic(where.tenant, 100)
            async with traffic.running():
                where.secret("AWR_API_TOKEN_NEXT", NEW)
                assert (await rotate(where)).code == 0
                await checked(where)
                (left,) = where.tenant.subscriptions.values()
                assert left.key.key_id == NEW_KEY
            await all_arrived(where, traffic)

    asyncio.run(scenario())


def test_it_waits_for_receivers_says_which_and_can_be_abandoned(valkey, prefix, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with deployment(valkey.url, prefix, tmp_path, OLD) as where:
            where.tenant.add_token(NEW)
            file = tmp_path / "next-token"
            file.write_text(NEW)
            early = await rotate(where, "--token-file", str(file), "--wait", "0.1")
            assert early.code == 1
            assert f"accepts the key {NEW_KEY}" in early.err
            again = await rotate(where, "--token-file", str(file))
            assert again.code == 1
            assert "is open" in again.err
            assert len(where.tenant.subscriptions) == 1
            where.secret("AWR_API_TOKEN_NEXT", NEW)
            await accepts(where, OLD_KEY, NEW_KEY)
            silent = await rotate(where, "--continue", "--wait", "0.5")
            assert silent.code == 1
            assert "--delivered" in silent.err
            assert len(where.tenant.subscriptions) == 2
            assert (await rotate(where, "--abandon")).code == 0
            (left,) = where.tenant.subscriptions.values()
            assert left.key.key_id == OLD_KEY
            nothing = await rotate(where, "--continue")
            assert (nothing.code, "no rotation is open" in nothing.err) == (1, True)

    asyncio.run(scenario())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_command_that_is_stopped_while_it_waits_leaves_nothing_locked(
    valkey, prefix, tmp_path: Path, number: int
) -> None:
    async def scenario() -> None:
        async with deployment(valkey.url, prefix, tmp_path, OLD) as where:
            where.tenant.add_token(NEW)
            where.secret("AWR_API_TOKEN_NEXT", NEW)
            words = ("-m", "commands", "registration", "rotate-token", "--overlap", "1")
            waiting = await started(where, *words)
            await eventually(lambda: _is_at(where, "subscribed"))
            waiting.send_signal(number)
            ended = await outcome(waiting)
            if number == signal.SIGINT:
                assert ended.code == 130
                assert (
                    ended.err.split("\n")[0] == "not finished; `registration rotate-token --continue` goes on"
                )
            else:
                assert ended.code == -number
            assert (await rotate(where, "--continue", "--delivered")).code == 0
            (left,) = where.tenant.subscriptions.values()
            assert left.key.key_id == NEW_KEY

    asyncio.run(scenario())


def test_of_two_commands_at_once_one_is_refused_and_one_subscription_is_made(
    valkey, prefix, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with deployment(valkey.url, prefix, tmp_path, OLD) as where:
            where.tenant.add_token(NEW)
            file = tmp_path / "next-token"
            file.write_text(NEW)
            options = ("--token-file", str(file), "--delivered")
            assert (await rotate(where, *options, "--wait", "0.1")).code == 1
            calls = len(where.tenant.calls)
            words = ("registration", "rotate-token", "--overlap", "1", "--wait", "60", "--continue")
            both = [await started(where, "-c", WAITS, *words, *options) for _ in range(2)]
            for each in both:
                assert each.stderr is not None
                assert await asyncio.wait_for(each.stderr.readline(), 60) == b"waits\n"
            where.secret("AWR_API_TOKEN_NEXT", NEW)
            ends = await asyncio.gather(*map(outcome, both))
            done, refused = sorted(ends, key=lambda ended: ended.code)
            assert (done.code, refused.code) == (0, 1), (done, refused)
            assert "another command has changed this rotation" in refused.err
            made = [call for call in [*where.tenant.calls][calls:] if call.method == "POST"]
            assert len(made) == 1, made
            (left,) = where.tenant.subscriptions.values()
            assert left.key.key_id == NEW_KEY

    asyncio.run(scenario())


def test_the_operator_may_say_that_it_delivers(valkey, prefix, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with deployment(valkey.url, prefix, tmp_path, OLD) as where:
            where.tenant.add_token(NEW)
            where.secret("AWR_API_TOKEN_NEXT", NEW)
            done = await rotate(where, "--delivered", "--json")
            assert done.code == 0, done
            assert json.loads(done.out)["rotation"]["seen_by"] == "operator"

    asyncio.run(scenario())


def test_without_a_next_token_or_with_the_same_one_it_names_the_setting(
    valkey, prefix, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with deployment(valkey.url, prefix, tmp_path, OLD) as where:
            missing = await rotate(where)
            assert (missing.code, missing.err.count("\n")) == (2, 1)
            assert "AWR_API_TOKEN_NEXT" in missing.err
            where.secret("AWR_API_TOKEN_NEXT", OLD)
            same = await rotate(where)
            assert (same.code, "AWR_API_TOKEN_NEXT" in same.err) == (2, True)

    asyncio.run(scenario())


@pytest.mark.parametrize("first", ["made", "removed"])
def test_a_rotation_by_hand_in_either_order_loses_nothing(valkey, prefix, tmp_path: Path, first: str) -> None:
    """The operator makes the new one and removes the old one with curl; checks happen in between."""

    async def scenario() -> None:
        async with deployment(valkey.url, prefix, tmp_path, OLD) as where:
            tenant = where.tenant
            tenant.add_token(NEW)
            where.secret("AWR_SIGNING_KEYS", f"{OLD},{NEW}")
            await accepts(where, OLD_KEY, NEW_KEY)
            (old,) = tenant.subscriptions.values()
            traffic = Traffic(tenant, 100)
            async with traffic.running():
                await asyncio.sleep(1)
                if first == "made":
                    by_old_alone = set(traffic.sent)
                    tenant.subscribe(old.request, NEW)
                    await checked(where)
                    assert len(tenant.subscriptions) == 2
                    # AMPECO drops what is still on its way by the old one; the rest has another delivery by the new.
                    await eventually(lambda: _delivered(where, by_old_alone))
                    tenant.unsubscribe(old)
                else:
                    tenant.unsubscribe(old)
                    await eventually(lambda: _has(where, 1))
                    tenant.subscribe(old.request, NEW)
                await checked(where)
                assert NEW_KEY in {one.key.key_id for one in tenant.subscriptions.values()}
            async with opened(valkey.url, prefix) as log:
                found, _ = await arrived(log)
                gaps = await log.redis.hlen(log.key("gaps"))
            # With the old one removed first, AMPECO itself sends nothing until the next check.
            assert (bool(traffic.unsent), gaps) == ((False, 0) if first == "made" else (True, 1))
            lost = set(traffic.sent) - found.keys()
            assert lost <= (traffic.dropped() if first == "removed" else set())

    asyncio.run(scenario())


async def _is_at(where: Deployment, step: str) -> bool:
    async with opened(where.environ["AWR_REDIS_URL"], where.environ["AWR_KEY_PREFIX"]) as log:
        state = await rotation(log)
    return state is not None and state.step == step


async def _has(where: Deployment, subscriptions: int) -> bool:
    return len(where.tenant.subscriptions) == subscriptions


async def _delivered(where: Deployment, bodies: set[bytes]) -> bool:
    return not any(one.body in bodies and one.state == "pending" for one in where.tenant.deliveries)


async def checked(where: Deployment) -> None:
    """Wait until the registration was checked once more."""
    async with opened(where.environ["AWR_REDIS_URL"], where.environ["AWR_KEY_PREFIX"]) as log:
        store = SubscriptionStore(log)
        before = (await store.registration()).looked_ms

        async def later() -> bool:
            return (await store.registration()).looked_ms != before

        await eventually(later)
