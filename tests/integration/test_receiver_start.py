"""Starting and looking: what is refused with one line and which exit code, and what the small commands print."""

from __future__ import annotations

import asyncio
import json
import socket
import uuid
from pathlib import Path

import pytest

from ampeco.signature import SigningKey
from eventlog.connection.embedded import EmbeddedServer
from eventlog.registry import Declaration
from tests.door import TOKEN, Door, awr, door, read_reply, signed_head
from tests.harness import event, opened, soon

NOWHERE = "redis://:secret-word@127.0.0.1:1/0"
SERVING = {"AWR_REDIS_URL": NOWHERE, "AWR_REGISTER": "off", "AWR_API_TOKEN": TOKEN}


def refused(environ: dict[str, str], *arguments: str) -> str:
    """The one line with which a command refuses its configuration."""
    done = awr(*(arguments or ("serve",)), environ=environ)
    assert done.code == 2, done
    assert done.out == ""
    (line,) = done.err.splitlines()
    for hidden in (TOKEN, "secret-word"):
        assert hidden not in line
    return line


def test_no_key_is_refused() -> None:
    line = refused({k: v for k, v in SERVING.items() if k != "AWR_API_TOKEN"})
    assert "AWR_SIGNING_KEYS: no signing key is configured" in line


@pytest.mark.parametrize(
    ("extra", "fault"),
    [
        ({"AWR_PRT": "80"}, "AWR_PRT: unknown setting; did you mean AWR_PORT?"),
        ({"AWR_PORT": "tcp://10.0.0.1:8080"}, "enableServiceLinks: false"),
        ({"AWR_API_TOKEN": ""}, "AWR_API_TOKEN: is empty"),
        ({"AWR_REDIS_URL": f"http://:{TOKEN}@host"}, "AWR_REDIS_URL: scheme"),
        ({"AWR_ENTITY_KEYS_FILE": "/no/such/file"}, "AWR_ENTITY_KEYS_FILE: /no/such/file"),
        ({"AWR_SECRETS_DIR": "/no/such/folder"}, "AWR_SECRETS_DIR: cannot be read"),
        ({"AWR_REGISTER": "auto"}, "AWR_TENANT_URL: is not set"),
    ],
)
def test_a_wrong_setting_is_refused_with_its_fix(extra: dict[str, str], fault: str) -> None:
    assert fault in refused({**SERVING, **extra})


def test_a_missing_redis_url_is_refused_and_not_waited_for() -> None:
    assert "AWR_REDIS_URL: is not set" in refused({"AWR_REGISTER": "off", "AWR_API_TOKEN": TOKEN})


def test_a_port_in_use_is_refused(valkey: EmbeddedServer, prefix: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = awr(
            "serve",
            environ={**SERVING, "AWR_REDIS_URL": valkey.url, "AWR_KEY_PREFIX": prefix, "AWR_PORT": port},
        )
    assert done.code == 2
    assert f"AWR_PORT: 127.0.0.1:{port} cannot be opened" in done.err.splitlines()[-1]


@pytest.mark.parametrize(
    ("ours", "setting"),
    [
        ({"AWR_TENANT_URL": "https://ours.example"}, "AWR_TENANT_URL"),
        ({"AWR_TENANT_URL": "https://theirs.example", "AWR_LANES": "5"}, "AWR_LANES"),
    ],
)
def test_a_log_of_another_tenant_or_layout_is_refused(
    valkey: EmbeddedServer, prefix: str, ours: dict[str, str], setting: str
) -> None:
    async def claim() -> None:
        async with opened(valkey.url, prefix) as log:
            await log.claim("https://theirs.example", "")

    asyncio.run(claim())
    places = {"AWR_REDIS_URL": valkey.url, "AWR_KEY_PREFIX": prefix, "AWR_LANES": "4", "AWR_PORT": "0"}
    done = awr("serve", environ={**SERVING, **places, "AWR_ADMIN_PORT": "0", **ours})
    assert done.code == 2
    (line,) = done.err.splitlines()
    assert line.startswith(f"ampeco-receiver: {setting}: ")


def is_closed(front: Door) -> bool:
    """Whether the stop has begun: it takes no connection any more."""
    try:
        front.connect().close()
    except ConnectionRefusedError:
        return True
    return False


def test_a_stop_waits_for_bodies_that_arrive_and_refuses_those_that_do_not_end(
    valkey: EmbeddedServer, prefix: str
) -> None:
    bodies = [json.dumps({"notification": "x", "n": n}).encode() for n in range(2)]
    with door(valkey.url, prefix) as front, front.connect() as soon_whole, front.connect() as never_whole:
        for connection, body in zip((soon_whole, never_whole), bodies, strict=True):
            connection.sendall(signed_head(body) + body[:10])
        assert front.post(b"{}").status == 202  # so the heads before it have been read
        front.process.terminate()
        soon(lambda: is_closed(front))
        soon_whole.sendall(bodies[0][10:])
        assert read_reply(soon_whole).status == 202
        refused = read_reply(never_whole)
        assert (refused.status, refused.body) == (503, b"")
        assert int(refused.headers["retry-after"]) > 0
        assert front.ends() == 0
        front.line("event.rejected", reason="receiver-stops")
        assert not [line for line in front.lines if "exception" in line]


def test_sigterm_ends_it_politely(valkey: EmbeddedServer, prefix: str) -> None:
    with door(valkey.url, prefix) as front:
        assert front.post(b"{}").status == 202
        idle = front.connect()
        assert front.stop() == 0
        idle.close()
        front.line("endpoint.closed")


def test_secret_files_count_without_a_restart(valkey: EmbeddedServer, prefix: str, tmp_path: Path) -> None:
    path = tmp_path / "AWR_SIGNING_KEYS"
    path.write_text("first-key\n")
    with door(valkey.url, prefix, {"AWR_SECRETS_DIR": str(tmp_path)}) as front:
        body = lambda: json.dumps({"notification": "x", "n": uuid.uuid4().hex}).encode()  # noqa: E731
        assert front.post(body(), key="first-key").status == 202
        assert front.post(body(), key="second-key").status == 401
        path.write_text("second-key,first-key\n")
        soon(lambda: front.post(body(), key="second-key").status == 202, every_s=0.3)
        assert front.post(body(), key="first-key").status == 202
        path.write_text("\n")
        front.line("settings.change_refused", setting="AWR_SIGNING_KEYS")
        assert front.post(body(), key="second-key").status == 202
        new = tmp_path / ".new"
        new.write_text("second-key")
        new.replace(path)
        front.line("signing_keys.changed", accepted_key_ids=[SigningKey.of("second-key").key_id])
        assert front.post(body(), key="first-key").status == 401
        text = json.dumps(front.lines)
        assert "first-key" not in text
        assert "second-key" not in text


def test_a_new_api_token_is_accepted_together_with_the_one_that_subscribed(
    valkey: EmbeddedServer, prefix: str, tmp_path: Path
) -> None:
    (tmp_path / "AWR_API_TOKEN").write_text("old-token")
    with door(valkey.url, prefix, {"AWR_SECRETS_DIR": str(tmp_path), "AWR_API_TOKEN": None}) as front:
        (tmp_path / "AWR_API_TOKEN").write_text("new-token!")
        front.line("signing_keys.changed")
        assert front.post(b'{"a":1}', key="new-token!").status == 202
        assert front.post(b'{"a":2}', key="old-token").status == 202


def test_settings_work_while_incomplete_and_mask_secrets() -> None:
    environ = {"AWR_API_TOKEN": TOKEN, "AWR_PORT": "81", "AWR_REDIS_URL": NOWHERE}
    done = awr("settings", "--json", environ=environ)
    assert (done.code, done.err) == (0, "")
    rows = {row["name"]: row for row in json.loads(done.out)}
    assert rows["AWR_PORT"] == {"name": "AWR_PORT", "value": "81", "source": "env"}
    assert rows["AWR_API_TOKEN"]["value"] == "********"
    assert rows["AWR_TENANT_URL"] == {"name": "AWR_TENANT_URL", "value": None, "source": "default"}
    table = awr("settings", environ=environ).out
    assert TOKEN not in done.out + table
    assert "secret-word" not in done.out + table
    assert ["AWR_PORT", "81", "env"] in [line.split() for line in table.splitlines()]


def test_events_list_shows_what_arrived_without_bodies(valkey: EmbeddedServer, prefix: str) -> None:
    async def fill() -> None:
        async with opened(valkey.url, prefix) as log:
            await log.append([event(key="session:7", note="personal"), event("x.changed", key=None)])

    asyncio.run(fill())
    environ = {"AWR_REDIS_URL": valkey.url, "AWR_KEY_PREFIX": prefix, "AWR_LANES": "4"}
    done = awr("events", "list", "--json", environ=environ)
    assert done.code == 0
    rows = json.loads(done.out)
    assert {row["type"] for row in rows} == {"SessionUpdateNotification", "x.changed"}
    assert rows[0]["received_at"].endswith("Z")
    filtered = json.loads(awr("events", "list", "--json", "--key", "session:7", environ=environ).out)
    assert [row["key"] for row in filtered] == ["session:7"]
    table = awr("events", "list", "--type", "x.changed", environ=environ).out.splitlines()
    assert (len(table), table[0].split()[:2]) == (2, ["event", "received_at"])
    assert "personal" not in done.out


def test_handlers_list_shows_who_is_registered(valkey: EmbeddedServer, prefix: str) -> None:
    async def declare() -> None:
        async with opened(valkey.url, prefix) as log:
            await log.declare([Declaration("acme.mail", "v1", ("cdr.received",), "default", "entity", "now")])
            await log.append([event("cdr.received", key="cdr:1")])

    asyncio.run(declare())
    environ = {"AWR_REDIS_URL": valkey.url, "AWR_KEY_PREFIX": prefix, "AWR_LANES": "4"}
    (row,) = json.loads(awr("handlers", "list", "--json", environ=environ).out)
    assert (row["name"], row["types"], row["waiting"], row["dead"]) == ("acme.mail", ["cdr.received"], 1, 0)
    assert "acme.mail" in awr("handlers", "list", environ=environ).out


@pytest.mark.parametrize("command", [("events", "list"), ("handlers", "list")])
def test_an_unreachable_redis_is_exit_3_for_those_who_look(command: tuple[str, ...]) -> None:
    done = awr(*command, environ={"AWR_REDIS_URL": NOWHERE})
    assert (done.code, done.out) == (3, "")
    assert "secret-word" not in done.err
    assert len(done.err.splitlines()) == 1


def test_nothing_to_look_at_is_said(tmp_path: Path) -> None:
    line = refused({"AWR_DATA_DIR": str(tmp_path)}, "events", "list")
    assert "AWR_REDIS_URL: is not set" in line


@pytest.mark.parametrize(
    "arguments",
    [
        ("nonsense",),
        ("serve", "--nonsense"),
        ("events", "list", "--limit", "x"),
        ("worker", "--queue", "default.isolated"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_2(arguments: tuple[str, ...]) -> None:
    assert "--help" in refused({}, *arguments)


def test_help_and_version_need_no_setting() -> None:
    done = awr("--help", environ={"AWR_NONSENSE": "1"})
    assert done.code == 0
    assert "serve" in done.out
    assert awr("--version").out.strip() == "0.1.0"
