"""The demo as a newcomer meets it: it tells its story, adds up, and leaves nothing behind, however it ends."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.e2e.process_tree import short_folder, started

OPEN = "has registered itself"
CONSOLE = r"the console is at (http://127\.0\.0\.1:\d+/console/)\n"
SMALL = ("--seconds", "6", "--charge-points", "5", "--rate", "30")


@pytest.fixture(scope="module")
def told() -> Iterator[str]:
    """What one run printed; that it stayed open and left nothing behind is checked on the way."""
    with short_folder() as tmp, started("demo", *SMALL, "--keep", tmp=tmp) as demo:
        kept = demo.says(r"The console stays at (\S+) until Ctrl-C", within_s=180.0)
        overview = page(kept[1])
        assert "demo.reset-faulted" in overview
        assert "Receivers, workers</dt><dd>1, 1<" in overview
        demo.ask_to_end(signal.SIGINT)
        assert demo.ends() == 0, demo.stdout + demo.stderr
        demo.leaves_nothing()
        assert list(demo.tmp.iterdir()) == []
        yield demo.stdout


def page(url: str) -> str:
    return httpx2.get(url, timeout=60.0, trust_env=False).raise_for_status().text


def test_it_tells_the_story_and_leaves_nothing_behind(told: str) -> None:
    story = [
        "the simulator is at http://127.0.0.1:",
        "a worker runs the handlers demo.journal, demo.reset-faulted, resend-failed",
        "the console is at http://127.0.0.1:",
        "the receiver is open at http://127.0.0.1:",
        "and has registered itself for HardwareStatusNotification, session.start.stop.notification",
        "5 charge points are at work, 30 notifications per second",
        "signed with a wrong key, is refused: 401",
        "the receiver recognizes the duplicate",
        "the receiver is stopped",
        "the receiver is back after",
        "resend-failed asked for what the tenant had given up",
        "nothing is left to do",
        "Everything that was sent has arrived, and every handler has handled all it wants.",
    ]
    places = [told.find(step) for step in story]
    assert -1 not in places, f"{story[places.index(-1)]!r} is missing in:\n{told}"
    assert places == sorted(places)


def test_its_summary_adds_up(told: str) -> None:
    """The numbers are different every time; what has to hold among them holds."""

    def number(name: str) -> int:
        found = re.search(rf"^  {name} +([\d,]+)", told, re.MULTILINE)
        assert found, f"{name} is missing in:\n{told}"
        return int(found[1].replace(",", ""))

    assert number("duplicates") >= 1
    assert number("refused") == 1
    assert number("unreachable") > 0
    assert number("accepted") + number("duplicates") >= number("sent")
    handled = re.findall(
        r"^  (demo\.\S+|resend-failed) +([\d,]+) +([\d,]+) +0 .*≤ [\d,]+ ms", told, re.MULTILINE
    )
    assert [name for name, _, _ in handled] == ["demo.journal", "demo.reset-faulted", "resend-failed"]
    assert all(wants == has for _, wants, has in handled)
    assert re.search(r"([\d,]+) of them again", told)
    assert re.search(r"actions called: charge-point.reset: [1-9]\d*, notifications.resend-failed: 1", told)


def test_killed_it_takes_everything_along(tmp: Path) -> None:
    with started("demo", tmp=tmp) as demo:
        demo.says(OPEN)
        assert len(demo.running()) >= 7  # itself, store and its watcher, tenant, worker, receiver, console
        demo.kill()
        demo.leaves_nothing()


def test_interrupted_it_ends_everything_and_says_so(tmp: Path) -> None:
    with started("demo", tmp=tmp) as demo:
        demo.says(OPEN)
        assert "Overview" in page(demo.says(CONSOLE)[1])
        demo.ask_to_end(signal.SIGINT)
        assert demo.ends() == 130
        demo.leaves_nothing()
    assert "interrupted" in demo.stdout
    assert list(demo.tmp.iterdir()) == []


def test_without_its_tenant_it_fails_and_keeps_the_logs(tmp: Path) -> None:
    with started("demo", tmp=tmp) as demo:
        demo.says(OPEN)
        os.kill(demo.child("simulator"), signal.SIGKILL)
        assert demo.ends() == 1
        demo.leaves_nothing()
    kept = re.search(r"The logs are in (\S+)", demo.stderr)
    assert kept, demo.stderr
    files = {file.name for file in Path(kept[1]).iterdir()}
    assert {"worker.log", "receiver.log", "simulator.log", "console.log"} <= files
