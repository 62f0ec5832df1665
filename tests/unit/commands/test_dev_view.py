"""The output of `dev`: what the author of a handler must see stands out, and says what to do."""

import json

import pytest

from commands.dev_view import DevView

ABOUT = {"event_id": "1-2-0", "handler": "acme.mail", "notification": "HardwareStatusNotification"}


def shown(capsys: pytest.CaptureFixture[str], **facts: object) -> str:
    DevView().line(json.dumps({**ABOUT, "timestamp": "2026-11-30T00:00:00Z", **facts}))
    return capsys.readouterr().out.partition("  ")[2]


@pytest.mark.parametrize(("level", "word"), [("info", "log"), ("warning", "warning"), ("error", "error")])
def test_a_log_line_of_a_handler_shows_its_level(
    capsys: pytest.CaptureFixture[str], level: str, word: str
) -> None:
    said = shown(capsys, event="bill.failed", level=level, key="session:1", amount=5)
    assert said == f"{word:<8} acme.mail  HardwareStatusNotification session:1  bill.failed amount=5\n"


def test_a_handler_that_blocks_is_named_with_its_line_and_the_fix(capsys: pytest.CaptureFixture[str]) -> None:
    said = shown(
        capsys, event="worker.loop_blocked", level="critical", where="mail.py:7 in mail", lines=["x"]
    )
    assert said.startswith("blocked  acme.mail held the event loop at mail.py:7 in mail")
    assert "use `await` there, or a `def` handler" in said


def test_a_loop_that_is_blocked_by_no_known_handler(capsys: pytest.CaptureFixture[str]) -> None:
    said = shown(capsys, event="worker.loop_blocked", level="critical", handler="", where="", lines=[])
    assert said.startswith("blocked  a handler held the event loop, so the worker starts again")
