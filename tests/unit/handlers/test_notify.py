"""Notify's settings and texts."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from handlers import Event, Raw
from handlers.builtin.notify import NotifySettings
from handlers.builtin.notify_texts import DEFAULT_TEMPLATES, line_of
from handlers.builtin.webhook_sender import Away
from handlers.discovery import discover
from handlers.internal import PAYLOADS

URL = "https://chat.example/hooks/secret-part"
MODULE = "handlers.builtin.notify"


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The module is loaded by this test, as in a process of its own."""
    loaded = sys.modules[MODULE]
    monkeypatch.delitem(sys.modules, MODULE)
    yield
    sys.modules[MODULE] = loaded


def event(type: str, **fields: Any) -> Event[Raw]:
    body = {"notification": type, **fields}
    at = datetime(2026, 11, 29, 8, 0, 1, tzinfo=UTC)
    return Event("0-1-0", type, "receiver:log", at, None, Raw(body), json.dumps(body).encode())


def found() -> tuple[list[str], tuple[str, ...], list[str]]:
    seen = discover(load=[MODULE], allow=["notify"])
    faults = [fault.message for fault in seen.faults if "notify" in fault.source]
    return [item.handler.name for item in seen.found], seen.off, faults


@pytest.mark.usefixtures("fresh")
def test_it_is_off_until_it_has_a_target(monkeypatch):
    assert found() == ([], ("notify",), [])
    monkeypatch.setenv("RECEIVER_NOTIFY_URL", "")
    monkeypatch.delitem(sys.modules, MODULE)
    assert found() == ([], ("notify",), [])


@pytest.mark.usefixtures("fresh")
def test_with_a_target_it_wants_the_chosen_events(monkeypatch):
    monkeypatch.setenv("RECEIVER_NOTIFY_URL", URL)
    monkeypatch.setenv("RECEIVER_NOTIFY_EVENTS", "receiver.log.full, receiver.gap.closed")
    assert found() == (["notify"], (), [])
    wanted = sys.modules[MODULE].notify.types
    assert wanted == ("receiver.gap.closed", "receiver.log.full")


@pytest.mark.usefixtures("fresh")
def test_a_wrong_setting_is_a_fault_that_has_no_part_of_the_url(monkeypatch):
    monkeypatch.setenv("RECEIVER_NOTIFY_URL", "http://chat.example/hooks/secret-part")
    names, _, (fault, *_) = found()
    assert names == []
    assert "https" in fault
    assert "AWR_ALLOW_PLAIN_HTTP" in fault
    assert "secret" not in fault


def test_plain_http_is_accepted_where_the_deployment_accepts_it(monkeypatch):
    monkeypatch.setenv("AWR_ALLOW_PLAIN_HTTP", "1")
    assert NotifySettings(url="http://chat.example/x").is_on


def test_the_url_does_not_show():
    assert "secret" not in repr(NotifySettings(url=URL))


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"events": "receiver.log.ful"}, "receiver.log.ful"),
        ({"events": " , "}, "empty"),
        ({"events": "*"}, "internal events are"),
        ({"templates": {"receiver.x": "a"}}, "not an internal event"),
        ({"templates": {"receiver.log.full": "{why}"}}, "there are"),
        ({"every_s": 0}, "greater than"),
        ({"url": URL, "url_file": "/x"}, "not both"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_words(values, says):
    with pytest.raises(ValidationError, match=says):
        NotifySettings(**values)


def test_the_target_comes_from_a_file_that_may_change(tmp_path: Path):
    path = tmp_path / "url"
    settings = NotifySettings(url_file=path)
    assert settings.is_on
    with pytest.raises(Away, match="RECEIVER_NOTIFY_URL_FILE"):
        settings.target()
    for url in (URL, URL + "2"):
        path.write_text(url + "\n")
        assert settings.target() == url


@pytest.mark.parametrize("kind", ["pipe", "/dev/zero"])
def test_a_pipe_or_device_in_the_place_of_a_file_blocks_no_worker(tmp_path: Path, kind: str):
    path = tmp_path / "url"
    os.mkfifo(path)
    with pytest.raises(Away, match="RECEIVER_NOTIFY_URL_FILE cannot be read: OSError"):
        NotifySettings(url_file=path if kind == "pipe" else Path(kind)).target()


def test_each_event_has_a_template_of_its_own_fields():
    assert DEFAULT_TEMPLATES.keys() == PAYLOADS.keys()
    assert NotifySettings(templates=dict(DEFAULT_TEMPLATES)).templates == DEFAULT_TEMPLATES


def test_a_line_has_the_time_the_text_and_what_was_held_back():
    full = event("receiver.log.full", reason="no room", bytesUsed=2, maxBytes=1, held=3)
    assert line_of(full, DEFAULT_TEMPLATES) == (
        "2026-11-29 08:00:01 UTC The log is full, notifications are refused: no room "
        "(and 3 more since the one before)"
    )
    assert line_of(full, {"receiver.log.full": "{bytes_used} of {max_bytes}"}).startswith(
        "2026-11-29 08:00:01 UTC 2 of 1"
    )


def test_lists_times_and_missing_values_can_be_read():
    gap = {"from": "2026-11-29T07:00:00Z", "to": "2026-11-29T07:10:00+00:00", "types": list("abcdefgh")}
    line = line_of(
        event("receiver.gap.closed", **gap), {"receiver.gap.closed": "{from_at} {types} {callback_url}"}
    )
    assert line.endswith("2026-11-29 07:00:00 UTC a, b, c, d, e and 3 more -")


def test_hostile_texts_stay_one_line_of_bounded_length():
    dead = event(
        "receiver.delivery.dead",
        handler="h",
        eventId="0-1-0",
        eventType="x" * 90_000,
        reason="a\nb\x1b[2J{handler}",
    )
    line = line_of(dead, DEFAULT_TEMPLATES)
    assert len(line) <= 1_000
    assert line.isprintable()
    assert "{handler}" in line, "values are not templates"


def test_a_payload_of_another_version_still_makes_a_line():
    assert line_of(event("receiver.log.full"), DEFAULT_TEMPLATES).endswith("receiver.log.full receiver:log")
    assert line_of(event("receiver.brand.new", a=1), DEFAULT_TEMPLATES).endswith(
        "receiver.brand.new receiver:log"
    )
