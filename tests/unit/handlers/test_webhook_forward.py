"""What is forwarded, how it is signed, and when the handler is on."""

from __future__ import annotations

import base64
import gzip
import hashlib
import hmac
import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from ampeco.encodings import decoded
from handlers import Event, Raw
from handlers.builtin.standard_webhooks import headers_of, keys_of
from handlers.builtin.webhook_forward import ForwardSettings, body_of
from handlers.builtin.webhook_sender import Away
from handlers.discovery import discover

URL = "https://team.example/hooks/secret-part"
SECRET = "whsec_" + base64.b64encode(b"k" * 32).decode()
OLDER = "whsec_" + base64.b64encode(b"o" * 32).decode()
COMPLETE = {"url": URL, "secret": SECRET, "events": "A"}
MODULE = "handlers.builtin.webhook_forward"
AT = datetime(2026, 11, 29, 8, 0, 1, tzinfo=UTC)


def event(raw: bytes = b'{"notification":"A","n":1.10}', **more: Any) -> Event[Raw]:
    return Event(**{
        "id": "0-1-0", "type": "A", "key": "session:1", "received_at": AT, "occurred_at": None,
        "payload": Raw({"notification": "A", "n": 1.1}), "raw": raw, **more,
    })  # fmt: skip


def test_the_published_example_of_standard_webhooks():
    """Source: the specification's own test vector, as the reference libraries have it."""
    keys = keys_of("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    headers = headers_of("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}', keys)
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert headers["webhook-id"] == "msg_p5jXN8AQM9LWM0D4loKWxJek"
    assert headers["webhook-timestamp"] == "1614265330"


def test_each_secret_makes_a_signature():
    headers = headers_of("a", 1, b"{}", keys_of(f"{SECRET}, {OLDER}"))
    expected = [hmac.new(key * 32, b"a.1.{}", hashlib.sha256).digest() for key in (b"k", b"o")]
    assert headers["webhook-signature"].split() == [
        f"v1,{base64.b64encode(each).decode()}" for each in expected
    ]


@pytest.mark.parametrize(
    ("secrets", "says"),
    [
        ("", "no secret"),
        ("whsec_secret!", "not base64"),
        ("c2VjcmV0", "6 bytes"),
        (f"{SECRET},x", "secret 2"),
    ],
)
def test_a_secret_of_another_form_is_refused_and_not_quoted(secrets, says):
    with pytest.raises(ValueError, match=says) as error:
        keys_of(secrets)
    assert "c2VjcmV0" not in str(error.value)
    assert "secret!" not in str(error.value)


def test_the_body_is_what_is_known_and_the_events_own_json():
    body = body_of(event())
    assert body.endswith(b'"data":{"notification":"A","n":1.10}}'), "all digits"
    found = json.loads(body)
    assert found == {
        "type": "A",
        "timestamp": "2026-11-29T08:00:01Z",
        "id": "0-1-0",
        "key": "session:1",
        "receivedAt": "2026-11-29T08:00:01Z",
        "maybeRepeat": False,
        "replayed": False,
        "data": {"notification": "A", "n": 1.1},
    }


@pytest.mark.parametrize(
    "raw",
    [
        '{"n":1.10}'.encode("utf-16"),
        b'\xef\xbb\xbf{"n":1.10}',
        gzip.compress(b'{"n":1.10}', mtime=0),
    ],
)
def test_a_body_in_another_encoding_goes_as_plain_text_with_all_digits(raw):
    _, encoding = decoded(raw)
    assert encoding
    assert body_of(event(raw, encoding=encoding)).endswith(b'"data":{"n":1.10}}')


def test_the_own_time_is_the_timestamp():
    body = json.loads(body_of(event(occurred_at=datetime(2026, 11, 29, 7, tzinfo=UTC), maybe_repeat=True)))
    assert (body["timestamp"], body["maybeRepeat"]) == ("2026-11-29T07:00:00Z", True)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"secret": None}, "RECEIVER_FORWARD_SECRET is missing"),
        ({"events": ""}, "RECEIVER_FORWARD_EVENTS is missing"),
        ({"url": "http://team.example/secret-part"}, "https"),
        ({"secret": "whsec_c2VjcmV0"}, "RECEIVER_FORWARD_SECRET: secret 1 has 6 bytes"),
        ({"url_file": "/x"}, "RECEIVER_FORWARD_URL or RECEIVER_FORWARD_URL_FILE"),
        ({"secret_file": "/x"}, "RECEIVER_FORWARD_SECRET or"),
    ],
)
def test_an_incomplete_configuration_is_refused_with_words(changes, says):
    with pytest.raises(ValidationError, match=says):
        ForwardSettings(**{**COMPLETE, **changes})


def test_nothing_secret_shows():
    shown = repr(ForwardSettings(**COMPLETE))
    assert "secret-part" not in shown
    assert SECRET not in shown


def test_secrets_come_from_a_file_that_may_change(tmp_path: Path):
    path = tmp_path / "secret"
    settings = ForwardSettings(url=URL, secret_file=path, events="*")
    for content in (None, "", "x"):
        if content is not None:
            path.write_text(content)
        with pytest.raises(Away, match="RECEIVER_FORWARD_SECRET_FILE"):
            settings.keys()
    path.write_text(f"{SECRET}\n{OLDER}\n")
    assert settings.keys() == (b"k" * 32, b"o" * 32)


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The module is loaded by this test, as in a process of its own."""
    loaded = sys.modules[MODULE]
    monkeypatch.delitem(sys.modules, MODULE)
    yield
    sys.modules[MODULE] = loaded


@pytest.mark.usefixtures("fresh")
def test_it_is_off_until_it_is_configured_and_then_wants_the_chosen_types(monkeypatch):
    assert discover(load=[MODULE], allow=["webhook-forward"]).off == ("webhook-forward",)
    monkeypatch.delitem(sys.modules, MODULE)
    for name, value in COMPLETE.items():
        monkeypatch.setenv(f"RECEIVER_FORWARD_{name.upper()}", value)
    monkeypatch.setenv("RECEIVER_FORWARD_EVENTS", "A, receiver.log.full")
    (found,) = discover(load=[MODULE], allow=["webhook-forward"]).found
    assert found.handler.types == ("A", "receiver.log.full")
