"""Log lines: JSON in a pipe, on stderr, and never a secret, from our code or a library."""

import json
import os
import re
import subprocess
import sys
import unicodedata

import pytest

SCRIPT = """
import logging
from receiver import logging as ours
ours.configure({format!r}, "info")
log = ours.get_logger("x")
log.info("event.accepted", events=3)
log.debug("event.accepted", event_id="1-2-3")
log.info("odd", body=b"hush", token="hush", signature="hush", redis_url="hush")
logging.getLogger("redis").warning("from a %s", "library")
logging.getLogger("acme").warning("mail.sent", extra={{"count": 2}})
logging.getLogger("uvicorn.error").warning("Invalid HTTP request received.")
logging.getLogger("httpx2").info("HTTP Request: POST https://tenant/hush")
def fail(body):
    raise ValueError("fault")
hidden = "hu" + "sh"  # Python 3.13 shows the line of the call
try:
    fail(hidden)
except ValueError:
    log.exception("event.failed")
"""


def _written(log_format: str) -> tuple[str, str]:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(format=log_format)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "NO_COLOR": "1"},
    )
    return done.stdout, done.stderr


def test_a_pipe_gets_json_and_stdout_stays_free() -> None:
    out, err = _written("auto")
    assert out == ""
    lines = [json.loads(line) for line in err.splitlines()]
    assert [line["event"] for line in lines] == [
        "event.accepted",
        "odd",
        "redis.line",
        "mail.sent",
        "event.failed",
    ]
    assert (lines[2]["text"], lines[2]["level"]) == ("from a library", "warning")
    assert (lines[3]["count"], lines[3]["logger"]) == (2, "acme")
    assert (lines[0]["events"], lines[0]["level"], lines[0]["logger"]) == (3, "info", "x")
    assert lines[0]["timestamp"].endswith("Z")
    assert "ValueError: fault" in lines[4]["exception"]


def test_no_format_shows_a_secret_or_the_values_of_variables() -> None:
    for log_format in ("json", "pretty"):
        out, err = _written(log_format)
        assert "event.failed" in err
        assert "hush" not in out + err


ODD = r"""
import io, json, logging, sys
from receiver import logging as ours
ours.configure({format!r}, "info", stream=sys.stdout)
log = ours.get_logger("x")
evil = "\x1b[2J\x1b]0;t\x07\r\n2026-11-29 [info] forged\x9b\u202e\u200b" + json.loads('"\\ud83d"')
class Odd:
    def __repr__(self): return evil
    def __str__(self): raise RuntimeError
log.info(evil, reason=evil, many=[evil, Odd()], odd=Odd(), error=ValueError(evil), **{{evil: 1}})
logging.getLogger(evil).warning("library " + evil)
try:
    raise ValueError(evil)
except ValueError:
    log.exception("event.failed")
long = "r" * 2_000_000
log.info(long, reason=long, error=ValueError(long), many=[long] * 3, where=long, **{{long: 1}})
log.info("many.fields", **{{f"f{{n}}": long for n in range(1000)}})
try:
    raise ValueError(long)
except ValueError:
    log.exception("event.failed")
"""


@pytest.mark.parametrize("log_format", ["json", "pretty"])
def test_a_line_passes_no_control_character_on_and_is_bounded(log_format: str) -> None:
    out = subprocess.run(
        [sys.executable, "-c", ODD.format(format=log_format)],
        capture_output=True,
        check=True,
        env={**os.environ, "NO_COLOR": "1", "PYTHONUTF8": "1"},
    )
    text = re.sub(r"\x1b\[[0-9]+m", "", out.stdout.decode())  # colours of the renderer
    assert out.stderr == b""
    assert not [c for c in text if c != "\n" and unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")]
    assert not [line for line in text.split("\n") if line.startswith("2026-11-29 [info] forged")]
    assert len(text) < 250_000
    if log_format == "json":
        lines = [json.loads(line) for line in text.splitlines()]
        assert len(lines) == 6
        assert lines[-1]["exception"].startswith("Traceback")
        assert lines[-2]["event"] == "many.fields"
        assert lines[-3]["reason"] == "r" * 999 + "…"
