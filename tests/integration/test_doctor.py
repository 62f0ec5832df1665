"""`doctor`: each check with a real server in both states, and the command as a Job would run it."""

from __future__ import annotations

import asyncio
import email.utils
import json
import re
import socket
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import redis

from ampeco.simulator.testing import TOKEN as BOX_TOKEN
from ampeco.simulator.testing import tenant_in_a_box
from commands.demo_stack import free_port
from commands.doctor.configured import usable
from commands.doctor.deployment import Deployment
from commands.doctor.examination import CHECKS, Checked, examine
from commands.doctor.finding import Finding
from eventlog.clock import now_ms
from eventlog.connection.embedded import EmbeddedServer
from eventlog.presence import beat
from eventlog.registry import Declaration
from eventlog.replicas import Replica, publish
from tests.cli import Cli
from tests.conftest import LOG_SERVERS
from tests.door import TOKEN, awr, door
from tests.harness import event, opened, soon, worker
from tests.integration.test_redis_login import RECORDER, permitted
from tests.integration.test_redis_reasons import BINARY, as_user
from tests.meta.repository import ROOT
from tests.servers import certificates, server
from tests.web import answering, version_1

SAFE = {"appendfsync": "always", "maxmemory": str(2 << 30), "maxmemory-policy": "noeviction"}


def looked(environ: Mapping[str, str], *names: str, check_s: float = 10.0) -> dict[str, Finding]:
    """What the checks of these names find (all of them without a name)."""

    async def run() -> list[Checked]:
        settings, refused = usable(environ)
        about = Deployment(settings, refused, environ)
        try:
            return [checked async for checked in examine(about, check_s=check_s, only=names)]
        finally:
            await about.close()

    return {checked.name: checked.finding for checked in asyncio.run(run())}


def found(environ: Mapping[str, str], name: str) -> Finding:
    return looked(environ, name)[name]


def on(url: str, **more: str) -> dict[str, str]:
    return {"AWR_REDIS_URL": url, "AWR_LANES": "4", **more}


@pytest.fixture(scope="module", params=LOG_SERVERS)
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with server(tmp_path_factory.mktemp("server"), binary=BINARY[request.param], **SAFE) as url:
        yield url


@pytest.fixture
def client(url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(url, decode_responses=True) as client:
        client.flushall()
        before = {name: client.config_get(name)[name] for name in (*SAFE, "appendonly")}
        yield client
        for name, value in before.items():
            client.config_set(name, value)


# The command as a whole.


def test_a_healthy_deployment_has_no_fault(tmp_path: Path) -> None:
    (tmp_path / "recorder.py").write_text(RECORDER)
    (tmp_path / "server").mkdir()
    port = free_port()
    with server(tmp_path / "server", **SAFE) as url, tenant_in_a_box() as box:
        environ = {
            "AWR_REGISTER": "auto",
            "AWR_TENANT_URL": box.url,
            "AWR_API_TOKEN": BOX_TOKEN,
            "AWR_PUBLIC_URL": f"http://127.0.0.1:{port}",
            "AWR_PORT": str(port),
        }
        log = tmp_path / "worker.log"
        with (
            worker(url, "awr:", [tmp_path / "recorder.py"], environ, log),
            door(url, "awr:", environ) as front,
        ):
            soon(lambda: front.get("/health/ready").status == 200)
            soon(lambda: front.ready()["registration"] == "registered")
            soon(lambda: b"worker.started" in log.read_bytes())
            mine = {**environ, "AWR_REDIS_URL": url, "AWR_LANES": "4"}
            done = awr("doctor", "--json", environ=mine)
            report = json.loads(done.out)
            assert done.code == 0, report
            assert (report["healthy"], report["faults"]) == (True, 0)
            assert [check["name"] for check in report["checks"]] == list(CHECKS)
            states = {check["name"]: check["status"] for check in report["checks"]}
            # loopback without TLS, and a token of 11 characters
            assert {name for name, state in states.items() if state != "ok"} <= {
                "callback-certificate", "keys", "redis-latency", "log-room",
            }  # fmt: skip
            text = awr("doctor", environ=mine)
            assert (text.code, text.err) == (0, "")
            assert len(text.out.splitlines()) == len(CHECKS) + 1
            for secret in (BOX_TOKEN, TOKEN):
                assert secret not in text.out + text.err + done.out + done.err


def test_a_fault_ends_with_1_and_every_check_still_runs(tmp_path: Path) -> None:
    """Nothing is there: a Job's log names all that is missing, and ends in time."""
    environ = {
        "AWR_REDIS_URL": f"redis://user:secret-word@127.0.0.1:{free_port()}",
        "AWR_TENANT_URL": f"http://127.0.0.1:{free_port()}",
        "AWR_PUBLIC_URL": f"http://127.0.0.1:{free_port()}",
        "AWR_API_TOKEN": "token-nobody-may-see",
        "AWR_TENANT": "x",
    }
    done = awr("doctor", environ=environ)
    assert done.code == 1
    lines = done.out.splitlines()
    assert [line.split()[1] for line in lines[:-1]] == list(CHECKS)
    faulty = {line.split()[1] for line in lines if line.startswith("FAULT")}
    assert faulty == {"settings", "redis", "tenant", "callback-url"}
    assert "did you mean AWR_TENANT_URL?" in lines[0]
    assert "secret-word" not in done.out + done.err
    assert "token-nobody-may-see" not in done.out + done.err
    assert done.err == ""


def test_a_server_that_accepts_and_never_answers_is_not_waited_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        environ = {
            "AWR_REDIS_URL": f"redis://127.0.0.1:{port}",
            "AWR_TENANT_URL": f"http://127.0.0.1:{port}",
            "AWR_PUBLIC_URL": f"http://127.0.0.1:{port}",
            "AWR_API_TOKEN": "token-nobody-may-see",
        }
        seen = looked(environ, check_s=0.2)
        assert list(seen) == list(CHECKS)
    assert seen["redis"].status in ("unknown", "fault")
    assert seen["keys"].status == "ok"


def test_without_any_setting_it_says_what_to_set() -> None:
    seen = looked({"HOME": "/nonexistent"})
    assert seen["settings"].status == seen["keys"].status == seen["redis"].status == "fault"
    assert "AWR_TENANT_URL" in seen["settings"].what
    assert "AWR_REDIS_URL" in seen["redis"].what


def test_the_permissions_it_prints_are_those_of_the_operators_page(
    capsys: pytest.CaptureFixture[str],
) -> None:
    done = awr("doctor", "--acl")
    assert done.code == 0
    assert done.out.strip() in (ROOT / "deploy" / "README.md").read_text()
    own = awr("doctor", "--acl", "--json", environ={"AWR_KEY_PREFIX": "{acme}:"})
    assert json.loads(own.out)["rules"].startswith("resetchannels ~{acme}:* &{acme}:* ")


# Settings and keys.


@pytest.mark.parametrize(
    ("token", "said"),
    [
        ('"abcdefghijklmnop"', "quotes"),
        ("‘abcdefghijklmnop’", "quotes"),  # noqa: RUF001
        ("\ufeffabcdefghijklmnop", "U+FEFF"),
        ("Bearer abcdefghijklmnop", "Bearer"),
        ("abcdefgh ijklmnop", "blank"),
        ("abcdefghijklmnop\n\n", "U+000A"),
    ],
)
@pytest.mark.parametrize("name", ["AWR_API_TOKEN", "AWR_SIGNING_KEYS"])
def test_a_key_that_was_copied_badly_is_a_fault(tmp_path: Path, name: str, token: str, said: str) -> None:
    if name == "AWR_SIGNING_KEYS" and said == "U+000A":
        pytest.skip("line ends separate keys")
    (tmp_path / name).write_text(token)
    seen = found({"AWR_SECRETS_DIR": str(tmp_path)}, "keys")
    assert seen.status == "fault"
    assert said in seen.what
    assert "abcdefgh" not in seen.what + seen.fix


def test_a_short_key_is_a_warning_and_a_good_one_is_named_by_its_id() -> None:
    assert found({"AWR_API_TOKEN": "short", "AWR_REGISTER": "off"}, "keys").status == "warn"
    seen = found({"AWR_API_TOKEN": "a-token-that-is-long-enough"}, "keys")
    assert seen.status == "ok"
    assert re.fullmatch(r"accepted: [0-9a-f]{8}", seen.what)


def test_a_refused_setting_hides_no_other(tmp_path: Path) -> None:
    (tmp_path / "AWR_PORT").write_text("eighty")
    (tmp_path / "AWR_NO_SUCH").write_text("x")
    environ = {"AWR_SECRETS_DIR": str(tmp_path), "AWR_LANES": "0", "AWR_PUBLIC_URL": "http://hooks.example"}
    seen = found(environ, "settings")
    assert seen.status == "fault"
    for name in ("AWR_PORT", "AWR_NO_SUCH", "AWR_LANES", "AWR_PUBLIC_URL", "AWR_TENANT_URL"):
        assert name in seen.what
        assert name in seen.fix


# Redis.


def test_a_server_as_it_should_be(url: str, client: redis.Redis) -> None:
    names = [name for name in CHECKS if name.startswith("redis")]
    seen = looked(on(url), *names)
    assert {name: one.status for name, one in seen.items() if name != "redis-latency"} == {
        name: "ok" for name in names if name != "redis-latency"
    }
    assert re.match(r"(Valkey|Redis) \d", seen["redis-version"].what)
    assert re.match(r"ping \d+\.\d ms", seen["redis-latency"].what)


@pytest.mark.parametrize(
    ("option", "value", "name", "status", "said"),
    [
        ("appendonly", "no", "redis-append-only-file", "fault", "appendonly is no"),
        ("appendfsync", "everysec", "redis-fsync", "fault", "appendfsync is everysec"),
        ("maxmemory-policy", "allkeys-lru", "redis-eviction", "fault", "allkeys-lru"),
        ("maxmemory", str(1 << 30), "redis-memory", "fault", "AWR_LOG_MAX_BYTES"),
        ("maxmemory", "0", "redis-memory", "warn", "no maxmemory"),
    ],
)
def test_a_server_that_loses_events_is_a_fault(
    url: str, client: redis.Redis, option: str, value: str, name: str, status: str, said: str
) -> None:
    client.config_set(option, value)
    seen = found(on(url), name)
    assert seen.status == status
    assert said in seen.what + seen.fix
    assert seen.fix


def test_what_the_settings_accept_is_no_fault(url: str, client: redis.Redis) -> None:
    client.config_set("appendfsync", "everysec")
    client.config_set("maxmemory-policy", "allkeys-lru")
    assert found(on(url, AWR_DURABILITY="everysec"), "redis-fsync").status == "ok"
    assert found(on(url, AWR_EVICTING_REDIS="accept-loss"), "redis-eviction").status == "warn"


def test_too_few_replicas_are_a_fault(url: str, client: redis.Redis) -> None:
    seen = found(on(url, AWR_DURABILITY="replicated:1"), "redis-replicas")
    assert seen.status == "fault"
    assert "needs 1" in seen.what


def test_a_replica_is_no_place_for_a_log(url: str, tmp_path: Path) -> None:
    port = free_port()
    with (
        server(tmp_path, port=str(port)),
        redis.Redis.from_url(f"redis://127.0.0.1:{port}") as follower,
    ):
        follower.execute_command("REPLICAOF", "127.0.0.1", str(free_port()))
        seen = found(on(f"redis://127.0.0.1:{port}"), "redis")
    assert seen.status == "fault"
    assert "replica" in seen.what


def test_missing_rights_are_named_and_forbidden_config_is_unknown(url: str, client: redis.Redis) -> None:
    permitted(client, ">word")
    limited = on(as_user(url, "ampeco"))
    seen = looked(limited, "redis-rights", "redis-fsync")
    assert seen["redis-rights"].status == "ok"
    assert seen["redis-fsync"] == Finding(
        "unknown", "CONFIG is forbidden", "make sure that appendfsync is always"
    )
    permitted(client, ">word", "-xadd", "-zmscore")
    seen = looked(limited, "redis-rights")
    assert seen["redis-rights"].status == "fault"
    assert "xadd, zmscore" in seen["redis-rights"].what
    permitted(client, ">word", "resetkeys", "~other:*")
    assert "a key" in found(limited, "redis-rights").what
    permitted(client, ">word", "-info")
    assert found(limited, "redis").status == "fault"
    client.execute_command("ACL", "SETUSER", "ampeco", "off")
    refused = found(limited, "redis")
    assert (refused.status, refused.what) == ("fault", "redis-login-refused")


def test_trying_leaves_nothing_behind(url: str, client: redis.Redis) -> None:
    assert found(on(url), "redis-rights").status == "ok"
    left = set(client.keys("*"))
    assert not [name for name in left if "rights" in name]
    assert not [name for name in left if client.ttl(name) < 0]


def test_trying_as_a_user_who_may_delete_nothing_leaves_nothing_for_long(
    url: str, client: redis.Redis
) -> None:
    permitted(client, ">word", "-del", "-unlink", "-srem", "-zrem", "-xtrim")
    assert "del, srem, unlink, xtrim, zrem" in found(on(as_user(url, "ampeco")), "redis-rights").what
    left = {name for name in client.keys("*") if "rights" in name}
    assert left
    assert all(0 < client.pttl(name) <= 60_000 for name in left)


def test_a_full_log_and_another_tenants_log_are_faults(url: str, client: redis.Redis) -> None:
    assert found(on(url), "log-room").status == "ok"
    fields = ("at_ms", "max_bytes", "oldest_ms", "events", "open", "dead", "quarantine")
    client.hset("awr:standing", mapping=dict.fromkeys(fields, 1))
    client.set("awr:full", "unsettled events take all of the budget")
    seen = found(on(url), "log-room")
    assert seen.status == "fault"
    assert "unsettled events" in seen.what
    client.hset("awr:tenant", mapping={"url": "https://other.example", "lanes": "4"})
    with answering(lambda *_: (404, {}, b"")) as tenant:
        seen = found(on(url, AWR_TENANT_URL=tenant), "tenant")
        assert seen.status == "fault"
        assert "https://other.example" in seen.what
        client.hset("awr:tenant", mapping={"url": tenant, "lanes": "8"})
        assert found(on(url, AWR_TENANT_URL=tenant), "tenant").fix == "set AWR_LANES=8"


# Tenant, token, clocks.


@pytest.mark.parametrize(
    ("ahead_s", "status"), [(0, "ok"), (20, "warn"), (-20, "warn"), (3600, "fault"), (-3600, "fault")]
)
def test_the_tenants_clock_is_compared(ahead_s: int, status: str) -> None:
    def answer(*_: str) -> tuple[int, dict[str, str], bytes]:
        return 200, {"date": email.utils.formatdate(time.time() + ahead_s, usegmt=True)}, b""

    with answering(answer) as tenant:
        assert found({"AWR_TENANT_URL": tenant}, "tenant-clock").status == status


@pytest.mark.parametrize("date", ["", "yesterday", "Mon, 99 Foo 9999 99:99:99 GMT"])
def test_a_date_that_is_none_is_unknown(date: str) -> None:
    with answering(lambda *_: (200, {"date": date} if date else {}, b"")) as tenant:
        assert found({"AWR_TENANT_URL": tenant}, "tenant-clock").status == "unknown"


def test_a_token_that_was_revoked_is_a_fault() -> None:
    with tenant_in_a_box() as box:
        environ = {"AWR_TENANT_URL": box.url, "AWR_API_TOKEN": "another-token-entirely"}
        seen = looked(environ, "token", "token-rights")
        assert seen["token"].status == "fault"
        assert "401" in seen["token"].what
        assert seen["token-rights"].status == "unknown"
        seen = looked({**environ, "AWR_API_TOKEN": BOX_TOKEN}, "token", "token-rights")
        assert {one.status for one in seen.values()} == {"ok"}
        assert "notification subscriptions, charge points" in seen["token-rights"].what


def test_a_pause_that_ampeco_asked_for_is_a_warning(url: str, client: redis.Redis) -> None:
    assert found(on(url), "api-budget").what.startswith("no call was made yet")
    said = {
        "limit": 60,
        "period": 60_000,
        "left": 12,
        "seen": 1_795_940_000_000,
        "ordinary": 48,
        "refused": 2,
    }
    client.hset("awr:budget", mapping=said)
    seen = found(on(url), "api-budget")
    assert seen.status == "ok"
    assert seen.what.startswith("limit 60 calls per 60 s; 12 left, said 2026-11-29T")
    client.hset("awr:budget", "pause", int(time.time() * 1000) + 90_000)
    seen = found(on(url), "api-budget")
    assert (seen.status, "no calls for " in seen.what) == ("warn", True)


def test_what_the_tokens_owner_may_not_read_is_named(tmp_path: Path) -> None:
    def answer(method: str, path: str) -> tuple[int, dict[str, str], bytes]:
        refused = "/users/" in path or "/notifications/" in path
        return 403 if refused else 200, {"content-type": "application/json"}, b'{"data": []}'

    with answering(answer) as tenant:
        environ = {"AWR_TENANT_URL": tenant, "AWR_API_TOKEN": "another-token-entirely"}
        seen = found(environ, "token-rights")
        assert seen.status == "fault"
        assert "may not read notification subscriptions, users (403)" in seen.what
        assert found({**environ, "AWR_REGISTER": "off"}, "token-rights").status == "warn"
        with EmbeddedServer(tmp_path) as valkey:
            asyncio.run(accepting(valkey.url, "its-key"))
            # The receivers have no token, so another process subscribes, with a token of its own.
            assert found(on(valkey.url, **environ), "token-rights").status == "warn"


@pytest.mark.parametrize("status", [500, 429])
def test_a_tenant_in_trouble_is_no_verdict_on_the_token(status: int) -> None:
    with answering(lambda *_: (status, {}, b"<html>")) as tenant:
        environ = {"AWR_TENANT_URL": tenant, "AWR_API_TOKEN": "another-token-entirely"}
        assert found(environ, "token").status == "unknown"


# Registration.


async def declare(url: str, *types: str) -> None:
    async with opened(url, "awr:") as log:
        await log.declare([Declaration("h", "v1", types, "default", "none", "now")])


async def accepting(url: str, *keys: str) -> None:
    """A live receiver accepts these keys, and has just verified an event with the last one."""
    async with opened(url, "awr:") as log:
        types = {(keys[-1], "x.changed"): now_ms()}
        await publish(log, Replica("pod-1", frozenset(keys)), types=types, subscriptions=[])


def test_the_registration_is_compared_with_what_handlers_want(url: str, client: redis.Redis) -> None:
    wanted = ("BootNotification", "cdr.received")
    with tenant_in_a_box() as box:
        callback = "https://us.example"
        environ = on(url, AWR_TENANT_URL=box.url, AWR_API_TOKEN=BOX_TOKEN, AWR_PUBLIC_URL=callback)
        assert "no handler wants" in found(environ, "registration").what
        asyncio.run(declare(url, *wanted))
        seen = found(environ, "registration")
        assert (seen.status, "start a receiver" in seen.fix) == ("fault", True)

        async def subscribe(*types: str) -> str:
            from ampeco.client import AsyncClient

            async with AsyncClient(box.url, BOX_TOKEN) as ampeco:
                target = f"{callback}/webhooks/ampeco"
                return (await ampeco.notifications.subscribe(types, callback_url=target)).id

        first = asyncio.run(subscribe(wanted[0]))
        assert found(environ, "registration").status == "warn"
        asyncio.run(subscribe(*wanted))
        assert found(environ, "registration").status == "warn"  # two of them

        async def unsubscribe() -> None:
            from ampeco.client import AsyncClient

            async with AsyncClient(box.url, BOX_TOKEN) as ampeco:
                await ampeco.notifications.unsubscribe(first)

        asyncio.run(unsubscribe())
        seen = found(environ, "registration")
        assert (seen.status, "has 2 types" in seen.what) == ("ok", True)
        kept = re.search(r"subscription (\S+)", seen.what)
        assert kept
        client.hset("awr:subscription", mapping={"id": kept[1], "key_id": "deadbeef"})
        seen = found(environ, "registration")
        assert seen.status == "fault"
        assert "deadbeef" in seen.what
        # The command may run in a pod with other keys: what the live receivers accept decides.
        asyncio.run(accepting(url, "deadbeef", "0ther000"))
        seen = found(environ, "registration")
        assert (seen.status, "do not revoke" in seen.fix) == ("warn", True)
        asyncio.run(accepting(url, "deadbeef"))  # the end of a rotation: the other one can be revoked now
        assert found(environ, "registration").status == "ok"
        asyncio.run(accepting(url, "0ther000"))
        assert found(environ, "registration").status == "fault"
        assert found({**environ, "AWR_REGISTER": "off"}, "registration").status == "ok"


def test_a_tenant_with_version_1_alone_is_checked_with_it(url: str, client: redis.Redis) -> None:
    asyncio.run(declare(url, "BootNotification"))
    with tenant_in_a_box() as box, version_1(box.url) as tenant:
        with box.sync_client() as ampeco:
            ampeco.notifications_v1.subscribe(
                ["BootNotification"], callback_url="https://us.example/webhooks/ampeco"
            )
        environ = on(url, AWR_TENANT_URL=tenant, AWR_API_TOKEN=BOX_TOKEN, AWR_PUBLIC_URL="https://us.example")
        seen = looked(environ, "token", "token-rights", "registration")
        assert {name: one.status for name, one in seen.items()} == dict.fromkeys(seen, "ok"), seen
        assert "has 1 type" in seen["registration"].what
        assert found({**environ, "AWR_API_TOKEN": "another-token-entirely"}, "token").status == "fault"


# The callback URL.


@pytest.mark.parametrize(
    ("status", "said"), [(404, "another path"), (502, "no receiver behind"), (200, "405")]
)
def test_another_answer_than_a_receivers_is_a_fault(status: int, said: str) -> None:
    with answering(lambda *_: (status, {}, b"")) as public:
        seen = found({"AWR_PUBLIC_URL": public}, "callback-url")
        assert seen.status == "fault"
        assert said in seen.what


def test_a_url_that_only_ampeco_reaches_is_a_warning_while_events_arrive(
    url: str, client: redis.Redis
) -> None:
    environ = on(url, AWR_PUBLIC_URL=f"http://127.0.0.1:{free_port()}")
    assert found(environ, "callback-url").status == "fault"

    async def arrive() -> None:
        async with opened(url, "awr:") as log:
            await log.append([event()])

    asyncio.run(arrive())
    seen = found(environ, "callback-url")
    assert seen.status == "warn"
    assert "an event arrived" in seen.what


def test_the_chain_of_the_certificate_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = certificates(tmp_path)
    with answering(lambda *_: (405, {}, b""), tls=made) as public:
        monkeypatch.delenv("SSL_CERT_FILE", raising=False)
        seen = looked({"AWR_PUBLIC_URL": public}, "callback-certificate", "callback-url")
        assert seen["callback-certificate"].status == "fault"
        assert "intermediate" in seen["callback-certificate"].fix
        assert seen["callback-url"].status == "fault"
        monkeypatch.setenv("SSL_CERT_FILE", str(made.ca))
        seen = looked({"AWR_PUBLIC_URL": public}, "callback-certificate", "callback-url")
        assert seen["callback-url"].status == "ok"
        assert re.match(r"valid for (29|30) more days", seen["callback-certificate"].what)
        assert seen["callback-certificate"].status == "ok"


def test_a_certificate_for_another_name_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its chain is trusted, so that the name alone is wrong."""
    made = certificates(tmp_path, names="DNS:another.example")
    monkeypatch.setenv("SSL_CERT_FILE", str(made.ca))
    with answering(lambda *_: (405, {}, b""), tls=made) as public:
        seen = looked({"AWR_PUBLIC_URL": public}, "callback-certificate", "callback-url")
    assert {one.status for one in seen.values()} == {"fault"}
    assert "127.0.0.1" in seen["callback-certificate"].what
    assert "for this name" in seen["callback-certificate"].fix


# Workers.


def test_a_handler_without_a_worker_is_a_fault(url: str, client: redis.Redis, tmp_path: Path) -> None:
    assert found(on(url), "handlers").status == "warn"
    (tmp_path / "recorder.py").write_text(RECORDER)
    log = tmp_path / "worker.log"
    with worker(url, "awr:", [tmp_path / "recorder.py"], {}, log) as running:
        soon(lambda: found(on(url), "handlers").status == "ok")
        soon(lambda: found(on(url), "rq").status == "ok")
        seen = found(on(url), "versions")
        assert seen.status == "ok"
        assert "release" in seen.what
        assert running.stop() == 0
    seen = found(on(url), "handlers")
    assert seen.status == "fault"
    assert "recorder" in seen.what
    assert found(on(url), "rq").status == "fault"


def test_an_isolated_handler_without_a_worker_is_a_fault(
    valkey: EmbeddedServer, prefix: str, tmp_path: Path, cli: Cli
) -> None:
    """Its process exists only while there is work, so neither its absence nor its declaration says enough."""
    file = tmp_path / "alone.py"
    file.write_text(RECORDER.replace('"recorder",', '"recorder", isolation="process",'))
    deployment = on(valkey.url, AWR_KEY_PREFIX=prefix)

    def states() -> list[tuple[bool, str, str]]:
        """What `status`, `handlers list` and `doctor` say of each handler."""
        listed = {row["name"]: row["state"] for row in cli.json("handlers", "list")}
        judged = found(deployment, "handlers").status
        return [
            (one["is_served"], listed.get(one["name"], ""), judged) for one in cli.json("status")["handlers"]
        ]

    with worker(valkey.url, prefix, [file], {}, tmp_path / "worker.log") as running:
        soon(lambda: states() == [(True, "running", "ok")], every_s=0.2)
        assert re.search(r"^recorder +running ", cli("status")[1], re.MULTILINE)
        assert running.stop() == 0

    async def arrive() -> None:
        async with opened(valkey.url, prefix) as log:
            await log.append([event(n=1)])
            await beat(log, "other", "host:1:x", 0, {}, {})  # a worker of another queue is alive

    asyncio.run(arrive())
    assert states() == [(False, "gone", "fault")]
    assert re.search(r"^recorder +not served ", cli("status")[1], re.MULTILINE)
    assert any("no live worker serves recorder" in line for line in cli.json("status")["needs_attention"])


def test_two_versions_at_work_are_a_warning(url: str, client: redis.Redis) -> None:
    async def declare_twice() -> None:
        async with opened(url, "awr:") as log:
            for version in ("v1", "v2"):
                await log.declare([Declaration("h", version, ("x",), "default", "none", "now")])

    asyncio.run(declare_twice())
    seen = found(on(url), "versions")
    assert seen.status == "warn"
    assert "h: v1, v2" in seen.what
