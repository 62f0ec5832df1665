"""What several processes behind one port say of themselves together."""

from __future__ import annotations

from typing import Any

from receiver.health import together

READY: dict[str, Any] = {
    "ready": True,
    "reasons": [],
    "redis": "ok",
    "redis_permission": None,
    "evicted_keys": 0,
    "log_claimed": True,
    "log": {"bytes": 1},
    "registration": "registered",
    "registration_detail": None,
    "registration_confirmed_at": "2026-11-24T06:00:00.000Z",
    "accepted_key_ids": ["old", "new"],
}
AWAY = READY | {"ready": False, "reasons": ["redis-unreachable"], "redis": "redis-unreachable"}


def test_all_are_ready() -> None:
    assert together([READY, READY]) == READY | {"processes": 2}


def test_one_that_is_not_ready_decides() -> None:
    found = together([READY, AWAY, READY | {"ready": False, "reasons": ["log-full", "redis-unreachable"]}])
    assert (found["ready"], found["redis"], found["processes"]) == (False, "redis-unreachable", 3)
    assert found["reasons"] == ["redis-unreachable", "log-full"]


def test_one_that_says_nothing_is_not_ready() -> None:
    found = together([READY], ["process-not-started"])
    assert found == READY | {"ready": False, "reasons": ["process-not-started"], "processes": 2}


def test_nobody_says_anything() -> None:
    found = together([], ["stopping", "stopping"])
    assert (found["ready"], found["reasons"], found["processes"]) == (False, ["stopping"], 2)
    assert found.keys() == READY.keys() | {"processes"}


def test_keys_count_that_every_process_accepts() -> None:
    assert together([READY, READY | {"accepted_key_ids": ["new"]}])["accepted_key_ids"] == ["new"]


def test_the_log_is_ours_when_every_process_knows() -> None:
    assert together([READY, READY | {"log_claimed": False}])["log_claimed"] is False
