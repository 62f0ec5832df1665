"""The one line that says why a command failed names what the reader has to check."""

from __future__ import annotations

import click
import pytest
import redis.exceptions
from pydantic_core import SchemaSerializer, core_schema

from ampeco.errors import NoAnswer, NotSent
from commands.failures import failed


@pytest.mark.parametrize(
    ("error", "begins", "holds"),
    [
        (
            redis.exceptions.ConnectionError("Error 111 connecting to 127.0.0.1:1."),
            "AWR_REDIS_URL: redis-unreachable; check address",
            "(Error 111 connecting to 127.0.0.1:1.)",
        ),
        (
            redis.exceptions.TimeoutError("Timeout reading from 127.0.0.1:1"),
            "AWR_REDIS_URL: redis-unreachable; check address",
            "(Timeout reading from 127.0.0.1:1)",
        ),
        (
            NotSent("notifications.list", None, "ConnectError"),
            "AWR_TENANT_URL: AMPECO cannot be reached",
            "ConnectError",
        ),
        (
            NoAnswer("notifications.list", None, "ReadTimeout"),
            "AWR_TENANT_URL: AMPECO cannot be reached",
            "ReadTimeout",
        ),
    ],
)
def test_what_is_away_is_named_with_its_setting(capsys, error: Exception, begins: str, holds: str):
    assert failed(error) == 3
    line = capsys.readouterr().err
    assert line.startswith(f"ampeco-receiver: {begins}")
    assert holds in line
    assert line.count("\n") == 1


@pytest.mark.parametrize("message", ["is empty", "is empty."])
def test_a_wrong_argument_is_one_sentence_and_where_to_read_on_another(capsys, message: str):
    assert failed(click.UsageError(message)) == 2
    assert capsys.readouterr().err == "ampeco-receiver: is empty. See ampeco-receiver --help.\n"


class _Interrupted:
    """Something of a class that is being made, while Ctrl-C arrives."""

    def __set_name__(self, owner: type, name: str) -> None:
        raise KeyboardInterrupt

    def __repr__(self) -> str:
        raise KeyboardInterrupt


def _make_class() -> None:
    type("Made", (), {"it": _Interrupted()})


def _make_schema() -> None:
    SchemaSerializer(core_schema.literal_schema([_Interrupted()]))


@pytest.mark.parametrize("make", [_make_class, _make_schema])
def test_an_interrupt_that_a_library_wraps_is_no_error(capsys, make):
    with pytest.raises(BaseException) as raised:
        make()
    # From Python 3.12 on, a class in the making passes the interrupt on as it is.
    if not isinstance(raised.value, KeyboardInterrupt):
        assert failed(raised.value) == 130
        assert capsys.readouterr().err == ""
