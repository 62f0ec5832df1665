"""One chaos run: a whole deployment, events, strikes; afterwards everything that happened as a story.

The Redis of a run is one of `stores`.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from eventlog.clock import now_ms
from eventlog.entity_records import states
from eventlog.history import decode
from eventlog.log import EventLog
from eventlog.record import id_order
from tests.chaos.cast import LANES, PREFIX, Crew, Doors, Workforce
from tests.chaos.follower import Follower
from tests.chaos.keeper import Keeper
from tests.chaos.oncall import OnCall
from tests.chaos.roles import ROLES
from tests.chaos.sender import Sender
from tests.chaos.stores import Store, single
from tests.chaos.story import (
    Ended,
    Kept,
    Letter,
    Position,
    Run,
    Stored,
    Story,
    read_record,
    read_timers,
)
from tests.chaos.strikes import Striker
from tests.chaos.timers import TIMERS
from tests.harness import opened

PROCESSES, DOORS, ENTITIES = 3, 2, 32
_SETTLE_WITHIN_S = 120.0
_PAGE = 1_000


@dataclass(frozen=True)
class Played:
    """A run.

    Attributes:
        unanswered: deliveries that got no 2xx; the sender tried most of them again.
        refused: answers 503.
        dropped: replies of Redis that were lost.
        exit_code: of the workers' supervisor after SIGTERM.
    """

    story: Story
    unanswered: int
    refused: int
    dropped: int
    exit_code: int


def play(
    seconds: float,
    seed: int,
    folder: Path,
    *,
    rate: float = 40.0,
    guests: int = 3,
    store_of: Callable[[Path, int], AbstractContextManager[Store]] = single,
) -> Played:
    """Run for that long, then wait until all is settled (or clearly will not be), and tell the story.

    Args:
        folder: for the store, the record and the logs of the workers; new.
        rate: notifications per second.
        guests: how many workers may have joined the crew at a time.
        store_of: opens the Redis of the run, in a folder, from a seed.
    """
    with store_of(folder, seed) as store:
        workers = Workforce(
            Crew(store.url, folder, processes=PROCESSES),
            lambda code, image: Crew(store.url, folder, processes=1, code=code, image=image),
        )
        try:
            _wait_for_handlers(store.direct_url)
            doors = Doors(store.url, count=DOORS, durability=store.durability)
            try:
                sender = Sender(doors.ports, entities=ENTITIES, rate=rate, seed=seed)
                oncall = OnCall(seed, store.url, store.client, folder / "oncall.log", entities=ENTITIES)
                keeper, follower = Keeper(store.log_url, seed), Follower(store.client)
                striker = Striker(seed, store, workers, doors, guests=guests, struck=oncall.struck)
                for one in (follower, sender, oncall, keeper):
                    one.start()
                try:
                    striker.run(seconds)
                finally:
                    oncall.stop()
                    keeper.stop()
                story = Story(sent=sender.stop())
            finally:
                doors.close()
            _wait_until_settled(store.direct_url)
            exit_code = workers.stop()
        finally:
            workers.close()
        story.strikes = sorted(
            [*striker.strikes, *oncall.strikes, *keeper.strikes], key=lambda strike: strike.at_s
        )
        story.stops, story.outages = striker.stops, store.outages
        story.holds, story.agains = oncall.holds, oncall.agains
        story.widened_ms = striker.widened_ms
        story.lives, story.helpers, story.ups = workers.lives, workers.helper_lives, workers.ups
        record = (folder / "record.jsonl").read_bytes().splitlines()
        runs, story.effects = read_record(record)
        story.log = _whole_log(follower.stop(), runs, read_timers(record))
        story.runs = [run for run in runs if run.handler in ROLES]
        story.clock_ms = now_ms() - time.monotonic() * 1000
        asyncio.run(_read_log(store.direct_url, story))
        return Played(story, sender.unanswered, sender.refused, store.dropped, exit_code)


def _wait_for_handlers(url: str) -> None:
    """A handler wants only what is appended after it is known."""
    deadline_s = time.monotonic() + 60

    async def known() -> int:
        async with opened(url, PREFIX, LANES) as log:
            return len(await log.handlers(measure=False))

    while asyncio.run(known()) < len((*ROLES, TIMERS)):
        assert time.monotonic() < deadline_s, "the workers did not start"
        time.sleep(0.1)


def _wait_until_settled(url: str) -> None:
    """What is not settled when the time is over is for the checker to tell."""
    deadline_s = time.monotonic() + _SETTLE_WITHIN_S

    async def unsettled() -> int:
        async with opened(url, PREFIX, LANES) as log:
            pending = await log.redis.zcard(log.key("timers"))
            return sum(found.waiting + found.open for found in await log.handlers()) + int(pending)

    while asyncio.run(unsettled()) and time.monotonic() < deadline_s:
        time.sleep(0.2)


async def _read_log(url: str, story: Story) -> None:
    async with opened(url, PREFIX, LANES) as log:
        for lane in range(LANES):
            key = log.key("events", lane)
            there = frozenset(f"{lane}-{stream_id}" for stream_id, _ in await _entries(log, key))
            about = await log.redis.xinfo_stream(key) if await log.redis.exists(key) else {}
            story.kept[lane] = Kept(about.get("entries-added", 0), there)
            for name in ROLES:
                story.ended += await _ends(log, name, lane)
            story.timer_ends += await _ends(log, TIMERS, lane)
        async for key, document, _ in states(log, TIMERS):
            story.states[key] = json.loads(document)
        for name in ROLES:
            for _, fields in await _entries(log, log.key("dead", name)):
                story.letters.append(Letter(name, fields[b"event"].decode()))
        for found in await log.handlers():
            story.positions[found.name] = Position(found.waiting, found.open, found.dead, found.stats)


async def _ends(log: EventLog, name: str, lane: int) -> list[Ended]:
    return [
        Ended(name, f"{lane}-{one.stream_id}", one.outcome, one.reason, id_order(at)[0])
        for at, fields in await _entries(log, log.key("history", name, lane))
        for one in decode(fields[b"d"])
    ]


def _whole_log(seen: list[Stored], runs: list[Run], timers: dict[str, tuple[str, str]]) -> list[Stored]:
    """What was seen, and what was handled and trimmed before it could be seen."""
    found = {event.event_id: event for event in seen}
    for run in runs:
        timer = timers.get(run.event_id, ("", ""))
        found.setdefault(run.event_id, Stored(run.event_id, run.type, run.key, run.n, timer))
    return sorted(found.values(), key=lambda event: (event.lane, event.order))


async def _entries(log: EventLog, key: str) -> list[tuple[str, dict[bytes, bytes]]]:
    found: list[tuple[str, dict[bytes, bytes]]] = []
    after = "-"
    while page := await log.redis.xrange(key, min=after, count=_PAGE):
        found += [(stream_id.decode(), fields) for stream_id, fields in page]
        after = f"({found[-1][0]}"
    return found
