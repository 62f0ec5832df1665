"""What a log line says about an error of Redis: its own words, and never an argument that it repeats."""

from __future__ import annotations

import pytest
from redis import exceptions
from redis.exceptions import AuthenticationError, ResponseError

from eventlog.connection.reasons import reason_of, said_by_redis


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ResponseError("MISCONF Redis is configured to save RDB snapshots"), "MISCONF Redis is configured"),
        (
            ResponseError("unknown command 'AUTH', with args beginning with: 'default' 'hush'"),
            "unknown command 'AUTH'",
        ),
        (ResponseError("ERR unknown command 'AUTH', with args beginning with: hush"), "ERR unknown command"),
        (ResponseError("x" * 5_000), "x" * 199),
    ],
)
def test_the_words_of_redis_are_logged_without_arguments(error: ResponseError, said: str):
    text = said_by_redis(error)
    assert text.startswith(said)
    assert "hush" not in text
    assert len(text) <= 200
    assert reason_of(error).fields(error)["said"] == text


def test_an_error_around_it_has_the_same_words():
    outer = exceptions.ConnectionError("Error 111 connecting to redis.example:6379")
    outer.__cause__ = AuthenticationError("WRONGPASS invalid username-password pair or user is disabled.")
    assert said_by_redis(outer).startswith("WRONGPASS")


def test_a_connection_that_broke_has_no_words_of_redis():
    error = exceptions.ConnectionError("no route")
    assert "said" not in reason_of(error).fields(error)
