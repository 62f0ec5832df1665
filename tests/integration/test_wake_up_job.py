"""A job is compared with the only one we write. Everything else is deleted, and nothing it names is imported."""

from __future__ import annotations

import json
import pickle
import sys
import zlib
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from eventlog.connection.embedded import EmbeddedServer
from eventlog.wake_up_job import Refused, take
from eventlog.waker import enqueue

QUEUE = "fenced"
OURS = ["workers.jobs.drain", None, [QUEUE], {}]
OTHER = "antigravity.run"  # a module that nothing imports


def packed(call: Any) -> bytes:
    return zlib.compress(json.dumps(call).encode())


def fields(call: Any = OURS, **more: Any) -> dict[str, Any]:
    return {"data": packed(call), "timeout": 1, "origin": QUEUE, "success_callback_name": "", **more}


@pytest.fixture
def client(valkey: EmbeddedServer) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(valkey.url) as client:
        yield client


def test_what_we_enqueue_is_accepted_once(client: redis.Redis) -> None:
    enqueue(client, [QUEUE])
    entry = client.lpop(f"awr:rq:queue:{QUEUE}")
    assert isinstance(entry, bytes)
    assert take(client, "awr:rq:job:", entry, QUEUE)
    assert not take(client, "awr:rq:job:", entry, QUEUE)
    assert not client.exists(f"awr:rq:job:{entry.decode()}")


@pytest.mark.parametrize("function", ["workers.jobs.drain", "eventlog.wakeups.drain"])
def test_both_names_of_the_function_are_accepted(client: redis.Redis, prefix: str, function: str) -> None:
    client.hset(f"{prefix}id", mapping=fields([function, *OURS[1:]]))
    assert take(client, prefix, b"id", QUEUE)


FEATURES = [
    "allow_dependency_failures",
    "dependency_id",
    "dependency_ids",
    "enqueue_at",
    "enqueue_at_front",
    "enqueue_at_front_on_retry",
    "exc_info",
    "failure_callback_timeout",
    "meta",
    "number_of_retries",
    "rate_limit_key",
    "repeat_intervals",
    "repeats_left",
    "result",
    "retries_left",
    "retry_intervals",
    "serializer",
    "success_callback_timeout",
    "webhooks",
    "x" * 1_000_000,
]
HASHES = [
    ("other-function", fields(["os.system", None, ["true"], {}])),
    ("other-function", fields([OTHER, None, [QUEUE], {}])),
    ("other-function", fields([["workers.jobs.drain"], None, [QUEUE], {}])),
    ("other-function", fields(["workers.jobs.drain", OTHER, [QUEUE], {}])),
    ("other-arguments", fields(["workers.jobs.drain", None, ["another-queue"], {}])),
    ("other-arguments", fields(["workers.jobs.drain", None, [QUEUE, "more"], {}])),
    ("other-arguments", fields(["workers.jobs.drain", None, {"0": QUEUE}, {}])),
    ("other-arguments", fields(["workers.jobs.drain", None, [QUEUE], {"more": 1}])),
    ("unreadable", fields(OURS[:3])),
    ("unreadable", fields({"a": 1})),
    ("unreadable", fields(data=zlib.compress(b"{"))),
    ("unreadable", fields(data=zlib.compress(b"[" * 4000))),
    ("unreadable", fields(data=zlib.compress(b"\xff\xfe"))),
    ("unreadable", fields(data=zlib.compress(pickle.dumps(OURS)))),
    ("unreadable", fields(data=pickle.dumps(OURS))),
    ("unreadable", fields(data=b"")),
    ("unreadable", {"status": "queued"}),
    ("unreadable", fields(data=zlib.compress(b" " * 3_000_000))),
    ("too-large", fields(data=b"x" * 5_000_000)),
    *[
        ("names-a-callback", fields(**{f"{at}_callback_name": OTHER}))
        for at in ("success", "failure", "stopped")
    ],
    *[("unknown-field", fields(**{name: "1"})) for name in FEATURES],
]


@pytest.mark.parametrize(
    ("reason", "stored"), HASHES, ids=lambda value: value if isinstance(value, str) else ""
)
def test_any_other_job_is_deleted_with_a_reason(
    client: redis.Redis, prefix: str, reason: str, stored: dict[str, Any]
) -> None:
    client.hset(f"{prefix}id", mapping=stored)
    with pytest.raises(Refused, match=f"^{reason}$"):
        take(client, prefix, b"id", QUEUE)
    assert not client.exists(f"{prefix}id")
    assert "antigravity" not in sys.modules


@pytest.mark.parametrize("kind", ["string", "list", "set", "zset", "stream"])
def test_a_job_of_another_type_is_deleted(client: redis.Redis, prefix: str, kind: str) -> None:
    key = f"{prefix}id"
    {
        "string": lambda: client.set(key, "x"),
        "list": lambda: client.rpush(key, "x"),
        "set": lambda: client.sadd(key, "x"),
        "zset": lambda: client.zadd(key, {"x": 1}),
        "stream": lambda: client.xadd(key, {"x": "1"}),
    }[kind]()
    with pytest.raises(Refused, match="not-a-hash"):
        take(client, prefix, b"id", QUEUE)
    assert not client.exists(key)


@pytest.mark.parametrize("entry", [b"", b"a:b", b"a b", b"\xff", b"../id", b"id\n", b"x" * 1_000_000])
def test_an_entry_that_is_no_id_names_no_key(client: redis.Redis, prefix: str, entry: bytes) -> None:
    with pytest.raises(Refused, match="malformed-id"):
        take(client, prefix, entry, QUEUE)
