"""Workers end or stop at every point of a once-only step: its effect happens twice only where that is allowed."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import Any

from eventlog.connection.embedded import EmbeddedServer
from handlers.discovery import discover
from tests.harness import declaration, event, on_log, position, soon, worker

FILE = """
import os, signal, threading
from pathlib import Path
from handlers import Context, Event, Raw, handler

HERE = Path(os.environ.get("SCENE", "."))
POINT, MODE = os.environ.get("POINT", ""), os.environ.get("MODE", "")

def strike(point):
    mark = HERE / "struck"
    if point == POINT and not mark.exists():
        mark.write_text(str(os.getpid()))
        # At this very thread: a signal for the process may let it run on for a moment.
        signal.pthread_kill(threading.get_ident(), signal.SIGSTOP if MODE == "stop" else signal.SIGKILL)

def call():
    strike("before the effect")
    with open(HERE / "effects", "a") as effects:
        effects.write("x")
    strike("after the effect")
    return 1

@handler("recorder", on=["*"], start="oldest", timeout_s=20)
async def recorder(event: Event[Raw], ctx: Context) -> None:
    strike("before begin")
    assert await ctx.once("step", call, on_uncertain="retry" if MODE == "retry" else "dead") == 1
    strike("after finish")
"""

# where it strikes and how -> effects, dead
EXPECTED = {
    "before begin": (1, 0),
    "before the effect": (0, 1),
    "after the effect": (1, 1),
    "after finish": (1, 0),
    "before the effect, retry": (1, 0),
    "after the effect, retry": (2, 0),
    "after the effect, stop": (1, 1),
}


def test_no_effect_happens_twice_wherever_a_worker_ends(
    valkey: EmbeddedServer, prefix: str, tmp_path: Path
) -> None:
    """All scenes run side by side: most of the time goes into waiting for leases to run out."""
    file = tmp_path / "recorder.py"
    file.write_text(FILE)
    (found,) = discover(load=[str(file)], allow=["recorder"]).found

    def in_log(scene: str, work: Any) -> Any:
        return on_log(valkey.url, f"{prefix[:-1]}{list(EXPECTED).index(scene)}:", work)

    async def fill(log: Any) -> None:
        await log.declare([declaration(found.handler)])
        await log.append([event("t")])

    def settled(scene: str) -> bool:
        now = in_log(scene, lambda log: position(log, "recorder"))
        return (now.waiting, now.open) == (0, 0)

    with contextlib.ExitStack() as exits:

        def start(scene: str) -> Any:
            folder = tmp_path / scene
            folder.mkdir(exist_ok=True)
            point, _, mode = scene.partition(", ")
            environ = {"SCENE": str(folder), "POINT": point, "MODE": mode}
            number = list(EXPECTED).index(scene)
            return exits.enter_context(
                worker(valkey.url, f"{prefix[:-1]}{number}:", [file], environ, folder / f"{time.time()}.log")
            )

        for scene in EXPECTED:
            in_log(scene, fill)
        first = {scene: start(scene) for scene in EXPECTED}
        soon(lambda: all((tmp_path / scene / "struck").exists() for scene in EXPECTED), within_s=120)
        for scene in EXPECTED:
            start(scene)
        soon(lambda: all(settled(scene) for scene in EXPECTED), within_s=120, every_s=0.3)
        stopped = first["after the effect, stop"]
        stopped.resume()
        soon(lambda: stopped.process.poll() is not None)
        for scene, (effects, dead) in EXPECTED.items():
            written = tmp_path / scene / "effects"
            count = len(written.read_text()) if written.exists() else 0
            now = in_log(scene, lambda log: position(log, "recorder"))
            assert (count, now.dead) == (effects, dead), scene
