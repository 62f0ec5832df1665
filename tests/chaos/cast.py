"""The processes of a chaos run: workers under their supervisors, and receivers that come back when killed."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from tests.chaos.roles import ROLES, WIDENED
from tests.chaos.story import Span
from tests.chaos.timers import TIMERS
from tests.door import Door

PREFIX, LANES = os.environ.get("CHAOS_PREFIX", "awr:"), 4  # on a cluster one with a hash tag
CODE, NEXT_CODE = "tests.chaos.recording", "tests.chaos.recording_next"
IMAGE_OF_SOME = (
    "chaos.entity",
    "chaos.flaky",
    "chaos.latest",
    WIDENED,
)  # another image serves no more than these
ROOT = Path(__file__).parents[2]
_LOOK_S = 0.02


class Crew:
    """`worker --processes N`, started again when its supervisor is killed; knows when each process of it lived.

    Attributes:
        lives: of the workers that are gone.
        helper_lives: of what workers had started: processes for isolated handlers, and their forks.

    Args:
        code: module of the handlers.
        image: names of the handlers that are in it.
    """

    def __init__(
        self,
        redis_url: str,
        folder: Path,
        *,
        processes: int,
        code: str = CODE,
        image: Iterable[str] = (*ROLES, TIMERS),
    ) -> None:
        self._log = (folder / "workers.log").open("ab")
        self._code, self._processes = code, processes
        self._environ = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("AWR_", "RQ_"))},
            "AWR_REDIS_URL": redis_url,
            "AWR_KEY_PREFIX": PREFIX,
            "AWR_LANES": str(LANES),
            "AWR_REGISTER": "off",
            "AWR_ADMIN_PORT": "0",
            "AWR_HANDLERS_ALLOW": ",".join(image),
            "AWR_LOG_FORMAT": "json",
            "CHAOS_RECORD": str(folder / "record.jsonl"),
            "CHAOS_UPS": str(folder / "ups.jsonl"),
        }
        self._ups = folder / "ups.jsonl"
        self.lives: list[Span] = []
        self.helper_lives: list[Span] = []
        self._workers: dict[int, Span] = {}
        self._helpers: dict[int, Span] = {}
        self._ending = False
        self._supervisor = self._start()
        self._looking = threading.Thread(target=self._look, daemon=True)
        self._looking.start()

    @property
    def workers(self) -> list[int]:
        """Process ids of the workers that run now."""
        return sorted(self._workers)

    @property
    def ups(self) -> dict[int, float]:
        """Process id of every worker that has come up, and when."""
        lines = self._ups.read_bytes().splitlines() if self._ups.exists() else []
        return {pid: seconds for _, pid, seconds in map(json.loads, lines)}

    @property
    def helpers(self) -> list[int]:
        """Process ids of what workers have started."""
        return sorted(self._helpers)

    @property
    def supervisor(self) -> int:
        return self._supervisor.pid

    def deploy(self, code: str) -> None:
        """Stop it with SIGTERM, and start it again with other code."""
        self._code = code
        self._supervisor.terminate()

    def stop(self) -> int:
        """Stop it with SIGTERM; return the exit status."""
        self._ending = True
        self._supervisor.terminate()
        code = self._supervisor.wait(60)
        self._looking.join(60)
        self.close()
        return code

    def close(self) -> None:
        """End every process that is left."""
        self._ending = True
        for pid in (self.supervisor, *self.workers, *self.helpers):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._supervisor.wait(60)
        self._looking.join(10)
        self._log.close()

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [
                sys.executable,
                "-m",
                "commands",
                "worker",
                "--processes",
                str(self._processes),
                "--load",
                self._code,
            ],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            env=self._environ,
            cwd=ROOT,
            start_new_session=True,
        )

    def _look(self) -> None:
        """Children outlive a killed supervisor for a moment, so they are followed by process id."""
        while not self._ending or self._workers or self._helpers:
            if not self._ending and self._supervisor.poll() is not None:
                self._supervisor = self._start()
            follow(_children_of(self.supervisor), self._workers, self.lives)
            below = [pid for worker in self.workers for pid in _children_of(worker)]
            forks = [pid for helper in below for pid in _children_of(helper)]
            follow([*below, *forks], self._helpers, self.helper_lives)
            time.sleep(_LOOK_S)


class Workforce:
    """A crew that stays, and guests: workers that join it, and leave again.

    Args:
        guest: makes one, of the code and the image that it is given.
    """

    def __init__(self, crew: Crew, guest: Callable[[str, Iterable[str]], Crew]) -> None:
        self.crew = crew
        self.code = CODE
        self._guest = guest
        self._all = [crew]
        self._guests: list[Crew] = []
        self._leaving: list[threading.Thread] = []

    @property
    def workers(self) -> list[int]:
        """Process ids of the workers that run now."""
        return sorted(pid for crew in self._all for pid in crew.workers)

    @property
    def helpers(self) -> list[int]:
        """Process ids of what workers have started."""
        return sorted(pid for crew in self._all for pid in crew.helpers)

    @property
    def ups(self) -> dict[int, float]:
        """Process id of every worker that has come up, and when."""
        return self.crew.ups

    @property
    def lives(self) -> list[Span]:
        return [life for crew in self._all for life in crew.lives]

    @property
    def helper_lives(self) -> list[Span]:
        return [life for crew in self._all for life in crew.helper_lives]

    @property
    def guests(self) -> int:
        """How many are there now."""
        return len(self._guests)

    def join(self, image: Iterable[str]) -> None:
        """Another worker, of the code that is deployed now."""
        guest = self._guest(self.code, image)
        self._all.append(guest)
        self._guests.append(guest)

    def leave(self) -> int | None:
        """The guest that came first ends politely; return the process id of its worker, None without one."""
        if not self._guests:
            return None
        guest = self._guests.pop(0)
        pid = next(iter(guest.workers), 0)
        thread = threading.Thread(target=guest.stop, daemon=True)
        self._leaving.append(thread)
        thread.start()
        return pid

    def deploy(self) -> None:
        """The next version of the code: guests from now on have it, and the crew is started again with it."""
        self.code = NEXT_CODE
        self.crew.deploy(NEXT_CODE)

    def stop(self) -> int:
        """Stop all with SIGTERM; return the exit status of the crew's supervisor."""
        while self.leave() is not None:
            pass
        code = self.crew.stop()
        for thread in self._leaving:
            thread.join(60)
        return code

    def close(self) -> None:
        """End every process that is left."""
        for crew in self._all:
            crew.close()


class Doors:
    """Receivers, each on a port of its own."""

    def __init__(self, redis_url: str, *, count: int, durability: str) -> None:
        self._redis_url, self._durability = redis_url, durability
        self._ending = False
        self._doors: list[Door | None] = [self._open() for _ in range(count)]
        self._threads: list[threading.Thread] = []

    def ports(self) -> Sequence[int]:
        return [door.port for door in self._doors if door is not None]

    def kill(self, number: int) -> int:
        """SIGKILL for one, and another in its place as soon as it is up; 0 when there is none at the moment."""
        door = self._doors[number]
        if door is None:
            return 0
        door.process.kill()
        thread = threading.Thread(target=self._replace, args=(number, door), daemon=True)
        self._threads.append(thread)
        thread.start()
        return door.process.pid

    def close(self) -> None:
        self._ending = True
        for thread in self._threads:
            thread.join(60)
        for door in self._doors:
            if door is not None:
                _end(door)

    def _replace(self, number: int, door: Door) -> None:
        self._doors[number] = None
        _end(door)
        while not self._ending and self._doors[number] is None:
            with contextlib.suppress(AssertionError):  # it did not open in time: Redis may be away
                self._doors[number] = self._open()

    def _open(self) -> Door:
        return Door(self._redis_url, PREFIX, {"AWR_LANES": str(LANES), "AWR_DURABILITY": self._durability})


def _end(door: Door) -> None:
    door.process.kill()
    door.process.wait(60)
    door._reader.join(5)
    if door.process.stderr is not None:
        door.process.stderr.close()


def follow(running: Iterable[int], seen: dict[int, Span], lives: list[Span]) -> None:
    """Note who has come, and who has gone.

    A life lasts until it was seen last: on a busy machine its end is noticed late, when others have taken over.
    """
    for pid in running:
        now_s = time.monotonic()
        seen.setdefault(pid, Span(now_s, now_s, pid))
    for pid, life in list(seen.items()):
        now_s = time.monotonic()
        if _is_alive(pid):
            seen[pid] = life._replace(to_s=now_s)
        else:
            lives.append(seen.pop(pid))


def _children_of(pid: int) -> list[int]:
    """Processes of ours that this one has started, from any of its threads; zombies left out."""
    found: list[int] = []
    # The process, or one of its threads, may end between any two reads.
    with contextlib.suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError):
                children = (thread / "children").read_text().split()
                found += [int(number) for number in children if _is_ours(int(number))]
    return found


def _is_ours(pid: int) -> bool:
    try:
        return b"--child" in Path(f"/proc/{pid}/cmdline").read_bytes() and _is_alive(pid)
    except OSError:
        return False


def _is_alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"
