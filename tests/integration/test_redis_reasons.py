"""Real servers that refuse in their own ways: each has its reason, in readiness, log and metrics."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from commands.demo_stack import free_port
from eventlog.connection.connect import check_url
from eventlog.connection.reasons import SLUGS, Reason, reason_of
from eventlog.readiness import try_append
from tests.conftest import LOG_SERVERS
from tests.door import TOKEN, awr, door
from tests.harness import opened, soon
from tests.servers import certificates, server, tls_server

BINARY = {"valkey": "", "redis": "redis-server"}


@pytest.fixture(scope="module", params=LOG_SERVERS)
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of each kind that the tests may change, as long as they change it back."""
    with server(tmp_path_factory.mktemp("server"), binary=BINARY[request.param]) as url:
        yield url


@pytest.fixture
def client(url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(url, decode_responses=True) as client:
        yield client


def why(url: str, prefix: str = "awr:") -> Reason | None:
    """Why a log on this server is not ready; None when it is."""

    async def ask() -> Reason | None:
        async with opened(url, prefix) as log:
            try:
                await log.ready()
                await try_append(log)
            except (redis.RedisError, OSError) as error:
                return reason_of(error)
            return None

    return asyncio.run(ask())


def slug(url: str) -> str | None:
    found = why(url)
    return found.slug if found else None


def as_user(url: str, user: str, word: str = "word") -> str:
    """The URL with a user and its password."""
    return url.replace("://", f"://{user}:{word}@")


def permitted(client: redis.Redis, *rules: str) -> None:
    client.execute_command("ACL", "SETUSER", "limited", "reset", "on", ">word", *rules)


def configured(client: redis.Redis, **options: str) -> contextlib.ExitStack:
    """Set options of the server inside the block."""
    undo = contextlib.ExitStack()
    for name, value in options.items():
        option = name.replace("_", "-")
        before = client.config_get(option)[option]
        client.config_set(option, value)
        undo.callback(client.config_set, option, before)
    return undo


def test_a_server_that_is_all_right_has_no_reason_and_keeps_nothing(url: str, client: redis.Redis) -> None:
    assert why(url) is None
    assert [name for name in client.keys("*") if client.ttl(name) < 0] == []


@pytest.mark.parametrize(
    ("without", "named"),
    [("-time", "time"), ("-evalsha", "evalsha"), ("-xadd", "xadd"), ("-hincrby", "hincrby")],
)
def test_a_missing_permission_is_named(url: str, client: redis.Redis, without: str, named: str) -> None:
    permitted(client, "~awr:*", "&*", "+@all", without)
    found = why(as_user(url, "limited"))
    assert found is not None
    assert (found.slug, found.permission) == ("redis-no-permission", named)


def test_keys_of_another_prefix_are_a_missing_permission(url: str, client: redis.Redis) -> None:
    permitted(client, "~other:*", "&*", "+@all")
    found = why(as_user(url, "limited"))
    assert found is not None
    assert (found.slug, found.permission) == ("redis-no-permission", "a key")


def test_wrong_and_missing_passwords(url: str, client: redis.Redis) -> None:
    permitted(client, "~*", "&*", "+@all")
    assert slug(as_user(url, "limited", "wrong")) == "redis-login-refused"
    client.execute_command("ACL", "SETUSER", "default", "off")
    try:
        assert slug(url) == "redis-login-refused"
    finally:
        client.execute_command("ACL", "SETUSER", "default", "on")


def test_a_replica_is_read_only(url: str, client: redis.Redis) -> None:
    client.replicaof("127.0.0.1", 1)
    try:
        assert slug(url) == "redis-read-only"
    finally:
        client.replicaof("NO", "ONE")


def test_a_full_server(url: str, client: redis.Redis) -> None:
    with configured(client, maxmemory="1"):
        assert slug(url) == "redis-full"


def test_too_few_replicas(url: str, client: redis.Redis) -> None:
    with configured(client, min_replicas_to_write="1"):
        assert slug(url) == "redis-not-replicating"


@pytest.mark.parametrize("kind", LOG_SERVERS)
def test_too_many_clients(kind: str, tmp_path: Path) -> None:
    port = free_port()
    with server(tmp_path, binary=BINARY[kind], port=str(port)) as url, redis.Redis.from_url(url) as client:
        client.config_set("maxclients", 1)
        assert slug(f"redis://127.0.0.1:{port}") == "redis-too-many-clients"


def test_a_busy_script(url: str, client: redis.Redis) -> None:
    assert why(url) is None
    with configured(client, busy_reply_threshold="50"):

        def keep_busy() -> None:
            with contextlib.suppress(redis.RedisError), redis.Redis.from_url(url) as other:
                other.eval("while true do end", 0)

        busy = threading.Thread(target=keep_busy)
        busy.start()
        try:
            soon(lambda: slug(url) == "redis-busy-script")
        finally:
            client.script_kill()
            busy.join(10)


@pytest.mark.parametrize("kind", LOG_SERVERS)
def test_a_disk_that_cannot_be_written(kind: str, tmp_path: Path) -> None:
    with server(tmp_path, binary=BINARY[kind], appendonly="no", save="3600 1", dbfilename="one.rdb") as url:
        (tmp_path / "one.rdb").mkdir()  # it cannot be replaced by a file
        (tmp_path / "one.rdb" / "kept").touch()
        with redis.Redis.from_url(url) as client:
            client.set("changed", 1)
            client.bgsave()
            soon(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err")
        assert slug(url) == "redis-not-persisting"
        shutil.rmtree(tmp_path / "one.rdb")  # else the server would not end


@pytest.mark.parametrize("kind", LOG_SERVERS)
def test_a_server_that_loads_its_data(kind: str, tmp_path: Path) -> None:
    options = {"appendonly": "no", "save": "3600 1"}
    with server(tmp_path, binary=BINARY[kind], **options) as url, redis.Redis.from_url(url) as client:
        with client.pipeline() as filling:
            for n in range(2_000):
                filling.set(f"k{n}", "x" * 100)
            filling.execute()
        client.save()
    slow = {"key-load-delay": "5000", "loading-process-events-interval-bytes": "1024"}
    with server(tmp_path, binary=BINARY[kind], wait=False, **options, **slow) as url:
        soon(lambda: slug(url) == "redis-loading")
        soon(lambda: slug(url) is None, within_s=60)


def test_a_server_that_is_not_there() -> None:
    assert slug("redis://127.0.0.1:1") == "redis-unreachable"
    assert slug("unix:///no/such/socket") == "redis-unreachable"


def test_tls_faults_are_told_from_an_absent_server(tmp_path: Path) -> None:
    if shutil.which("redis-server") is None:
        pytest.skip("the embedded Valkey is built without TLS, and Debian's Redis is not installed")
    (tmp_path / "other").mkdir()
    (tmp_path / "server").mkdir()
    other = certificates(tmp_path / "other")
    with tls_server(tmp_path / "server", certificates(tmp_path / "server")) as url:
        check_url(url)
        assert slug(url) is None
        address = url.partition("?")[0]
        assert slug(address) == "redis-tls"
        assert slug(f"{address}?ssl_ca_certs={other.ca}") == "redis-tls"


def test_every_reason_is_in_the_operators_table() -> None:
    text = (Path(__file__).parents[2] / "deploy" / "README.md").read_text()
    assert [one for one in SLUGS if f"| `{one}` |" not in text] == []


def test_a_receiver_without_a_permission_is_not_ready_and_names_it(url: str, client: redis.Redis) -> None:
    permitted(client, "~awr:*", "&*", "+@all", "-time")
    with door(as_user(url, "limited"), "awr:") as front:
        line = front.line("redis.unreachable")
        assert (line["reason"], line["permission"]) == ("redis-no-permission", "time")
        report = front.ready()
        assert report["reasons"] == ["redis-no-permission", "log-not-claimed"]
        assert report["redis_permission"] == "time"
        assert front.metric('awr_redis_failed_checks_total{reason="redis-no-permission"}') > 0
        assert front.post(b'{"notification": "x"}').status == 503
        permitted(client, "~awr:*", "&*", "+@all")
        soon(lambda: front.get("/health/ready").status == 200)
        assert front.post(b'{"notification": "x"}').status == 202


def test_a_read_only_server_has_one_reason(url: str, client: redis.Redis, prefix: str) -> None:
    with door(url, prefix) as front:
        soon(lambda: front.get("/health/ready").status == 200)
        client.replicaof("127.0.0.1", 1)
        try:
            soon(lambda: not front.ready()["ready"])
            seen: set[str] = set()
            lines = len(front.said("redis.unreachable"))

            def said_often() -> bool:
                front.post(b'{"notification": "x"}')
                seen.update(front.ready()["reasons"])
                return len(front.said("redis.unreachable")) >= lines + 3

            soon(said_often)
        finally:
            client.replicaof("NO", "ONE")
        assert seen == {"redis-read-only"}
        assert {line["reason"] for line in front.said("redis.unreachable")} == {"redis-read-only"}
        soon(lambda: front.get("/health/ready").status == 200)


SERVING = {"AWR_REGISTER": "off", "AWR_API_TOKEN": TOKEN, "AWR_PORT": "0", "AWR_ADMIN_PORT": "0"}
ACCEPTING = {"AWR_EVICTING_REDIS": "accept-loss"}


@pytest.mark.parametrize("command", [("serve",), ("worker",)])
def test_a_server_that_evicts_is_refused_at_start(
    url: str, client: redis.Redis, prefix: str, command: tuple[str, ...]
) -> None:
    with configured(client, maxmemory_policy="allkeys-lru"):
        done = awr(*command, environ={**SERVING, "AWR_REDIS_URL": url, "AWR_KEY_PREFIX": prefix})
    assert done.code == 2
    line = done.err.splitlines()[-1]
    assert "AWR_REDIS_URL" in line
    assert "maxmemory-policy allkeys-lru" in line
    assert "AWR_EVICTING_REDIS=accept-loss" in line
    assert client.keys(f"{prefix}*") == []


def test_a_policy_that_changes_while_running_closes_the_endpoint(
    url: str, client: redis.Redis, prefix: str
) -> None:
    with door(url, prefix) as front:
        soon(lambda: front.get("/health/ready").status == 200)
        assert front.post(b'{"notification": "x", "n": 1}').status == 202
        with configured(client, maxmemory_policy="allkeys-lru"):
            front.line("redis.may_evict", policy="allkeys-lru")
            assert front.post(b'{"notification": "x", "n": 2}').status == 503
            assert front.ready()["reasons"] == ["redis-evicts"]
            assert front.metric('awr_events_refused_total{reason="redis-evicts"}') > 0
        soon(lambda: front.get("/health/ready").status == 200)
        assert front.post(b'{"notification": "x", "n": 3}').status == 202


def test_accepted_loss_is_counted(url: str, client: redis.Redis, prefix: str) -> None:
    with configured(client, maxmemory_policy="allkeys-lru"), door(url, prefix, ACCEPTING) as front:
        soon(lambda: front.get("/health/ready").status == 200)
        with client.pipeline() as filling:
            for n in range(2_000):
                filling.set(f"{prefix}fill:{n}", "x" * 1_000)
            filling.execute()
        with configured(client, maxmemory=str(client.info("memory")["used_memory"] - 1_000_000)):
            client.set(f"{prefix}one", "more")
            line = front.line("redis.evicted", policy="allkeys-lru")
            assert line["keys"] > 0
        soon(lambda: front.metric("awr_redis_evicted_keys_total") >= line["keys"])
        assert front.ready()["evicted_keys"] > 0
        assert "redis-evicts" not in front.ready()["reasons"]


def test_several_processes_count_an_evicted_key_once(url: str, client: redis.Redis, prefix: str) -> None:
    with (
        configured(client, maxmemory_policy="allkeys-lru"),
        door(url, prefix, ACCEPTING, "--processes", "2") as front,
    ):
        both = {"serve-1", "serve-2"}
        soon(lambda: {line.get("process") for line in front.said("endpoint.opened")} >= both)
        client.set(f"{prefix}fill", "x" * 2_000_000)
        with configured(client, maxmemory=str(client.info("memory")["used_memory"] - 1_000_000)):
            client.set(f"{prefix}one", "more")
            soon(lambda: {line["process"] for line in front.said("redis.evicted")} == both)
        soon(lambda: front.metric("awr_redis_evicted_keys_total") == client.info("stats")["evicted_keys"] > 0)


def test_an_evicting_server_loses_no_accepted_event(tmp_path: Path, prefix: str) -> None:
    """The policy changes under load, while the memory fills up."""
    with server(tmp_path) as url, redis.Redis.from_url(url) as client, door(url, prefix) as front:
        soon(lambda: front.get("/health/ready").status == 200)
        accepted = 0
        for n in range(300):
            if n == 150:
                client.config_set("maxmemory", client.info("memory")["used_memory"] + (8 << 20))
                client.config_set("maxmemory-policy", "allkeys-lru")
                front.line("redis.may_evict")
            body = b'{"notification": "x", "n": %d, "filling": "%s"}' % (n, b"x" * 100_000)
            accepted += front.post(body).status == 202
        assert 0 < accepted < 300
        found = sum(client.xlen(f"{prefix}events:{lane}") for lane in range(4))
        assert found == accepted
        assert client.info("stats")["evicted_keys"] == 0


def test_durability_that_cannot_be_checked_is_said_once(url: str, client: redis.Redis, prefix: str) -> None:
    permitted(client, "~*", "&*", "+@all", "-config")
    with door(as_user(url, "limited"), prefix) as front:
        soon(lambda: front.get("/health/ready").status == 200)
        (line,) = front.said("redis.durability_unknown")
        assert line["wanted"] == "always"
        assert front.said("redis.less_durable") == []
