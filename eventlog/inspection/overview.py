"""The state of a whole deployment as the log knows it, for one screen. It reads numbers and no event."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from eventlog.handler_faults import Faulty, faulty_by_name
from eventlog.heartbeat import receivers
from eventlog.inspection.fleet import awake, rq_queues
from eventlog.inspection.forecast import Forecast, forecast
from eventlog.inspection.gaps import Gap, newest_gaps, recorded_gaps
from eventlog.inspection.last_events import newest_at_ms
from eventlog.inspection.server_facts import ServerFacts, server_facts
from eventlog.inspection.serving import is_served
from eventlog.log import EventLog
from eventlog.operation.handlers import Pause, pauses
from eventlog.outages import Away, known_outages
from eventlog.ownership import recorded
from eventlog.presence import Process, present, served_names
from eventlog.rates import Attempts, Sample, recent_attempts, samples
from eventlog.registration_record import Registration
from eventlog.registry import HandlerPosition
from eventlog.retention import Keep
from eventlog.subscription import SubscriptionStore
from eventlog.turned_away import HOUR_MS, KEEP_HOURS, by_reason, refused_slots
from eventlog.usage import Standing, standing


@dataclass(frozen=True)
class Overview:
    """The log's knowledge of its deployment.

    Attributes:
        at_ms: the time of Redis.
        claimed: whose log it is (`url`, `lanes`); empty before the first receiver.
        subscription: the record of our notification subscription; empty without one.
        registration: what the last check of it at AMPECO found.
        keys: when each key last verified an event (Unix ms), by its id.
        newest_ms: when the newest event arrived; None without one.
        samples: totals of the last hour, the last ones of now.
        awake: queues of wake-ups that have an RQ worker.
        receivers: names of those that are alive. They beat while they can write, so never while the log is full.
        retrying: by handler, how many events wait for their next attempt.
        away: by handler that is held, what it needs and is away.
        attempts: by handler, those of the last minutes.
        stopped: by handler and lane, the record that cannot be read, at which it stops.
        gaps: those that were to be read, the oldest first.
        refused_slots: requests that the endpoint refused within a day, by the beginning of ten minutes (Unix ms) and
            by reason.
        quarantined: bodies in quarantine now.
        forecast: the room that the log needs at the rate of the last hour; None if that is not known.
    """

    at_ms: int
    claimed: Mapping[str, str]
    subscription: Mapping[str, str]
    registration: Registration
    keys: Mapping[str, int]
    newest_ms: int | None
    samples: Sequence[Sample]
    receivers: Sequence[str]
    processes: Sequence[Process]
    awake: Collection[str]
    handlers: Sequence[HandlerPosition]
    retrying: Mapping[str, int]
    paused: Mapping[str, Pause]
    away: Mapping[str, Away]
    gaps: Sequence[Gap]
    refused_slots: Mapping[int, Mapping[str, int]]
    quarantined: int
    server: ServerFacts
    standing: Standing | None
    forecast: Forecast | None = None
    attempts: Mapping[str, Attempts] = field(default_factory=dict)
    stopped: Mapping[tuple[str, int], str] = field(default_factory=dict)

    @property
    def refused(self) -> Mapping[str, int]:
        """Return the refused requests of a day by reason, the most frequent first."""
        return by_reason(self.refused_slots)

    @property
    def faulty(self) -> Mapping[str, Faulty]:
        """Return what live processes cannot run, by the name of the handler or the source of the plugin."""
        return faulty_by_name(self.processes)

    def served_by(self, handler: str) -> list[str]:
        """Return the labels of the live processes that serve a handler."""
        return [process.label for process in self.processes if handler in process.parts]

    def is_served(self, handler: HandlerPosition) -> bool:
        """Return whether a worker serves a handler; an isolated one has a process only while there is work."""
        return is_served(handler, served_names(self.processes), self.awake)

    def per_s(self, handler: str) -> float:
        """Return how many deliveries of a handler all processes settle per second, lately."""
        return sum(process.parts[handler].per_s for process in self.processes if handler in process.parts)


async def overview(log: EventLog, keep: Keep | None = None, *, most_gap_bytes: int | None = None) -> Overview:
    """Gather the overview.

    Args:
        keep: how long events are to be kept, for the forecast; None for no forecast.
        most_gap_bytes: of the records of gaps that are read, the newest first; None for all.

    Raises:
        redis.RedisError, OSError: Redis does not answer.
    """
    counted = await samples(log)
    now_ms = counted[-1].at_ms
    handlers = await log.handlers()
    store = SubscriptionStore(log)
    stands, outages = await standing(log), await known_outages(log)
    alive = await receivers(log, now_ms)
    if stands is not None and stands.full:
        alive = [one.name for one in await store.replicas()]
    return Overview(
        at_ms=now_ms,
        claimed=await recorded(log),
        subscription=await store.read(),
        registration=await store.registration(),
        keys=(await store.heard()).by_key,
        newest_ms=await newest_at_ms(log),
        samples=counted,
        receivers=alive,
        processes=await present(log),
        awake=awake(await rq_queues(log)),
        handlers=handlers,
        retrying=await _retrying(log, [one.name for one in handlers]),
        paused=await pauses(log),
        away=outages.away,
        stopped=outages.stopped,
        gaps=await recorded_gaps(log)
        if most_gap_bytes is None
        else (await newest_gaps(log, most_bytes=most_gap_bytes)).gaps,
        refused_slots=await refused_slots(log, now_ms - KEEP_HOURS * HOUR_MS, now_ms),
        quarantined=await log.redis.xlen(log.key("quarantine")),
        server=await server_facts(log),
        standing=stands,
        forecast=None if keep is None else await forecast(log, keep, counted, stands),
        attempts=await recent_attempts(log),
    )


async def _retrying(log: EventLog, names: Sequence[str]) -> dict[str, int]:
    async with log.redis.pipeline(transaction=False) as asked:
        for name in names:
            for lane in range(log.lanes):
                asked.zcard(log.key("opendue", name, lane))
        counts = await asked.execute() if names else []
    step = log.lanes
    return {name: sum(counts[at * step : (at + 1) * step]) for at, name in enumerate(names)}
