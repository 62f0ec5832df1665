"""An operator on call: pauses, renames, replays and retries at the worst moment, by the command line.

Commands go through the proxy like everything else, so they fail, or succeed without a reply. Then they are
given again, as a human would. What must not stay as it is (a pause, another name, a replay half done) is seen
through to its end. Every second action waits for a strike.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import redis

from eventlog.clock import now_ms, rfc3339
from tests.chaos.cast import LANES, PREFIX
from tests.chaos.commands import CommandLine
from tests.chaos.roles import ROLES, WIDENED
from tests.chaos.story import Again, Hold, Strike, stored

_EVERY_S = (0.3, 1.8)
_STRIKE_WITHIN_S = 3.0
_HOLD_S = {"pause": (0.5, 12.0), "rename": (0.5, 4.0)}
_BACK_S = (3.0, 25.0)  # how far back a replay goes
_LOOK_S = 0.01
_GLANCE_S = 0.001
_COMMAND_S = 90.0
_DONE_WITHIN_S = 240.0

_WEIGHTS = {"pause": 4, "replay": 6, "retry-dead": 4, "rename": 1}
_FATES = {"let-be": 6, "kill": 3, "forget": 1}  # of a replay
_AWAY = ".away"
_T = TypeVar("_T")


def _never() -> bool:
    return False


class OnCall:
    """Acts from a thread of its own until `stop` is called.

    Attributes:
        holds, agains, strikes: what was done.

    Args:
        url: of Redis as everybody sees it.
        client: makes one for looking at what is there.
        entities: how many there are to choose from.
        log: where commands say what they say.
    """

    def __init__(
        self, seed: int, url: str, client: Callable[[], redis.Redis], log: Path, *, entities: int
    ) -> None:
        self._random = random.Random(f"{seed}-oncall")
        self._client, self._entities = client, entities
        environ = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("AWR_", "RQ_"))},
            "AWR_REDIS_URL": url,
            "AWR_KEY_PREFIX": PREFIX,
            "AWR_LANES": str(LANES),
            "AWR_REGISTER": "off",
        }
        self._line = CommandLine(environ, log)
        self._stopping = threading.Event()
        self._struck = threading.Event()
        self._held: dict[str, str] = {}
        self._endings: list[tuple[float, Callable[[], None]]] = []
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.holds: list[Hold] = []
        self.agains: list[Again] = []
        self.strikes: list[Strike] = []

    def start(self) -> None:
        self._thread.start()

    def struck(self) -> None:
        """Something has just been struck."""
        self._struck.set()

    def stop(self) -> None:
        """Begin nothing more, and set right what was done."""
        self._stopping.set()
        self._thread.join()
        self._line.close()
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            next_s, waits = time.monotonic(), False
            while not self._stopping.wait(_LOOK_S):
                now_s = time.monotonic()
                self._end(now_s)
                if now_s >= next_s and (
                    not waits or self._struck.is_set() or now_s >= next_s + _STRIKE_WITHIN_S
                ):
                    self._act()
                    next_s, waits = (
                        time.monotonic() + self._random.uniform(*_EVERY_S),
                        self._random.random() < 0.5,
                    )
                    self._struck.clear()
            self._end(float("inf"))
        except BaseException as error:  # raised where it is stopped
            self._error = error

    def _end(self, now_s: float) -> None:
        for ending in [one for one in self._endings if one[0] <= now_s]:
            self._endings.remove(ending)
            ending[1]()

    def _act(self) -> None:
        """Each kind draws all that it needs first, so that a seed repeats the choices in any case."""
        (kind,) = self._random.choices(list(_WEIGHTS), list(_WEIGHTS.values()))
        # Of the one that is widened, a command could mean events that it did not want when they passed.
        name = self._random.choice([name for name in ROLES if name != WIDENED])
        match kind:
            case "pause" | "rename":
                seconds = self._random.uniform(*_HOLD_S[kind])
                if name not in self._held:
                    self._hold(kind, name, seconds)
            case "replay":
                back_s = self._random.uniform(*_BACK_S)
                type_ = self._random.choice(("", "", *ROLES[name].types))
                key = self._random.choice(("", "", f"session:{1 + self._random.randrange(self._entities)}"))
                (fate,) = self._random.choices(list(_FATES), list(_FATES.values()))
                if self._held.get(name) != "rename":
                    self._replay(name, back_s, type_, key, fate)
            case "retry-dead":
                name = self._random.choice([name for name, role in ROLES.items() if role.dies_of])
                if self._held.get(name) != "rename":
                    self._retry_dead(name)

    # Keeping a handler from working

    def _hold(self, kind: str, name: str, seconds: float) -> None:
        self._held[name] = kind
        asked_s = time.monotonic()
        if kind == "pause":
            done = self._command("handlers", "pause", name, "--reason", "chaos") == 0
        else:
            done = self._rename(name, name + _AWAY)
        confirmed_s = time.monotonic() if done else None
        self._told(f"{kind}-handler")
        begun = (name, kind, asked_s, confirmed_s)
        self._endings.append((time.monotonic() + seconds, lambda: self._lift(*begun)))

    def _lift(self, name: str, kind: str, asked_s: float, confirmed_s: float | None) -> None:
        lifting_s = time.monotonic()
        if kind == "pause":
            self._until(lambda: self._command("handlers", "resume", name) == 0, f"resume {name}")
        else:
            self._rename(name + _AWAY, name)
        self.holds.append(
            Hold(
                name,
                "pause" if kind == "pause" else "rename",
                asked_s,
                confirmed_s,
                lifting_s,
                time.monotonic(),
            )
        )
        del self._held[name]
        self._told("resume-handler" if kind == "pause" else "rename-back")

    def _rename(self, old: str, new: str) -> bool:
        """Seen through to its end: half done, it keeps the handler from working."""

        def moved() -> bool:
            done = self._command("handlers", "rename", old, new, "--yes") == 0
            return done or self._there("newest", new)

        self._until(moved, f"rename {old} to {new}")
        return True

    # Once more

    def _replay(self, name: str, back_s: float, type_: str, key: str, fate: str) -> None:
        asked_ms, asked_s = now_ms(), time.monotonic()
        from_ms = asked_ms - round(back_s * 1000)
        span = ("--from", rfc3339(from_ms), "--to", rfc3339(asked_ms))
        narrowed = [*(["--type", type_] if type_ else []), *(["--key", key] if key else [])]
        words = ("handlers", "replay", name, *span, *narrowed, "--yes")
        code = self._command(*words, cut_off=lambda: fate == "kill" and self._there("replays", name))
        completed = code == 0
        if not completed and self._there("replays", name):
            ending = "--forget" if fate == "forget" else "--continue"
            self._until(lambda: self._ended_replay(name, ending), f"replay of {name}")
            completed = fate != "forget"
        again = Again(name, "replay", asked_ms, asked_s, now_ms(), completed, from_ms, asked_ms, type_, key)
        self.agains.append(again._replace(chosen=self._chosen(again) if completed else frozenset()))
        self._told("replay" if code != -signal.SIGKILL else "replay-killed")

    def _ended_replay(self, name: str, ending: str) -> bool:
        done = self._command("handlers", "replay", name, ending) == 0
        return done or not self._there("replays", name)

    def _chosen(self, again: Again) -> frozenset[str]:
        """What a replay means and is kept now. It was all the time: only the front of a lane is trimmed."""

        def read() -> frozenset[str]:
            with self._client() as client:
                found = [
                    stored(lane, stream_id, fields)
                    for lane in range(LANES)
                    for stream_id, fields in client.xrange(
                        f"{PREFIX}events:{lane}", min=again.from_ms, max=again.to_ms
                    )
                ]
            types = ROLES[again.handler].types
            return frozenset(one.event_id for one in found if one.type in types and again.means(one))

        return self._looked(read)

    def _retry_dead(self, name: str) -> None:
        asked_ms, asked_s = now_ms(), time.monotonic()
        code = self._command("dead", "retry", "--handler", name, "--yes")
        self.agains.append(Again(name, "retry", asked_ms, asked_s, now_ms(), completed=code == 0))
        self._told("retry-dead")

    # How

    def _told(self, kind: str) -> None:
        self.strikes.append(Strike(time.monotonic(), kind))

    def _command(self, *words: str, cut_off: Callable[[], bool] = _never) -> int:
        """Its exit code; it is killed when it is time for that."""
        pid, deadline_s = self._line.start(*words), time.monotonic() + _COMMAND_S
        while (code := self._line.ended(_GLANCE_S)) is None:
            if cut_off():
                with contextlib.suppress(ProcessLookupError):  # it has just ended by itself
                    os.kill(pid, signal.SIGKILL)
                cut_off = _never
            assert time.monotonic() < deadline_s, f"{' '.join(words)} does not end"
        return code

    def _until(self, done: Callable[[], bool], what: str) -> None:
        deadline_s = time.monotonic() + _DONE_WITHIN_S
        while not done():
            assert time.monotonic() < deadline_s, f"{what} did not come to an end"

    def _there(self, key: str, name: str) -> bool:
        def look() -> bool:
            with self._client() as client:
                return bool(client.hexists(PREFIX + key, name))

        return self._looked(look)

    def _looked(self, look: Callable[[], _T]) -> _T:
        """What is there, as soon as Redis is."""
        deadline_s = time.monotonic() + _COMMAND_S
        while True:
            try:
                return look()
            except (redis.RedisError, OSError):
                assert time.monotonic() < deadline_s, "Redis does not come back"
                time.sleep(_LOOK_S)
