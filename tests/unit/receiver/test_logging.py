"""Log lines: JSON in a pipe, on stderr, and never a secret, also from libraries."""

import json
import os
import subprocess
import sys

SCRIPT = """
import logging
from receiver import logging as ours
ours.configure({format!r}, "info")
log = ours.get_logger("x")
log.info("event.accepted", events=3)
log.debug("event.accepted", event_id="1-2-3")
log.info("odd", body=b"hush", token="hush", signature="hush", redis_url="hush")
logging.getLogger("redis").warning("from a %s", "library")
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
    assert [line["event"] for line in lines] == ["event.accepted", "odd", "from a library", "event.failed"]
    assert (lines[0]["events"], lines[0]["level"], lines[0]["logger"]) == (3, "info", "x")
    assert lines[0]["timestamp"].endswith("Z")
    assert "ValueError: fault" in lines[3]["exception"]


def test_no_format_shows_a_secret_or_the_values_of_variables() -> None:
    for log_format in ("json", "pretty"):
        out, err = _written(log_format)
        assert "event.failed" in err
        assert "hush" not in out + err
