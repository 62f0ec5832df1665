"""Gather all that the log still knows about an event, or about every event of an entity.

In case nothing is found, it also gathers how far back events are kept, which handlers want which types, and the gaps.
It reads in pages and changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from eventlog.errors import UnknownName
from eventlog.handler_faults import faulty_by_name
from eventlog.ids import EVENT_ID, STREAM_ID
from eventlog.inspection.delivery_state import HandlerFacts
from eventlog.inspection.endpoint_records import Mention, copies_of_entity, mentions
from eventlog.inspection.event_traces import ALL, OF_PAGE, Limits
from eventlog.inspection.gaps import Gap, newest_gaps
from eventlog.inspection.kept_records import NO_FINER, FinerRecords, KeptRecord, finer_kept_of, kept_of
from eventlog.inspection.moment import at_once
from eventlog.inspection.quarantine_heads import heads
from eventlog.inspection.timeline import Story, of_entity, of_event
from eventlog.log import EventLog
from eventlog.operation.handlers import pauses, unknown_handler
from eventlog.operation.quarantine import Quarantined
from eventlog.outages import known_outages
from eventlog.presence import present, served_names, settled_per_s
from eventlog.reading import whole
from eventlog.record import id_order
from eventlog.registry import read_registered, served_ms
from eventlog.subscription import SubscriptionStore, left_types
from eventlog.turned_away import HOUR_MS, KEEP_HOURS, SLOT_MS, Copy, refused_between
from eventlog.unwanted import unwanted
from eventlog.usage import Standing, standing

_SHOWN_GAPS = 5
_NEAR_MS = 86_400_000


@dataclass(frozen=True)
class Behind:
    """How far a handler is behind, and how fast it goes on.

    Attributes:
        events: that wait for it, in all lanes.
        per_s: deliveries that it settled per second, lately.
    """

    events: int
    per_s: float


@dataclass(frozen=True)
class Explanation:
    """Everything that the log knows about the event or entity in question.

    Attributes:
        stories: in log order. An event without a trace has a story without fates.
        lane: its lane; None for an entry of the quarantine.
        quarantined: without its bytes.
        at_ms: when it arrived, by its id; None for an entity.
        oldest_ms, newest: when the oldest kept event of the lane arrived; id of the newest.
        handlers: all registered handlers, even if the question names one.
        subscribed: types of our notification subscription; None when the log remembers none.
        gaps: the last ones, or those near the time in question; of each reason.
        behind: by handler, for those for which an event of the stories waits.
        left: types that are not subscribed any more, and since when.
        refused: requests that the endpoint refused near the time in question, or in the last day, by reason.
        copies: dropped copies of the entity's events that are no longer kept.
        mentions: quarantined bodies that hold the entity's id.
        kept: what handlers keep of the entity, or of that of the event.
        finer: what handlers keep of it under keys of their own; not read for a page.
    """

    asked: str
    lane: int | None
    at_ms: int | None
    lanes: int
    stories: tuple[Story, ...]
    quarantined: Quarantined | None
    oldest_ms: int | None
    newest: str | None
    handlers: tuple[HandlerFacts, ...]
    subscribed: frozenset[str] | None
    gaps: tuple[Gap, ...]
    standing: Standing | None
    behind: Mapping[str, Behind] = field(default_factory=dict)
    left: Mapping[str, int] = field(default_factory=dict)
    refused: Mapping[str, int] = field(default_factory=dict)
    copies: tuple[Copy, ...] = ()
    mentions: tuple[Mention, ...] = ()
    kept: tuple[KeptRecord, ...] = ()
    finer: FinerRecords = NO_FINER

    @property
    def is_known(self) -> bool:
        """Return whether the log has any trace of it."""
        has_story = any(s.event.kept or s.fates for s in self.stories)
        about = self.copies or self.mentions or ((self.kept or self.finer.records) and self.at_ms is None)
        return has_story or self.quarantined is not None or bool(about)

    def may_be_missing_by(self, gap: Gap) -> bool:
        """Return whether the event, or events of the entity that would still be kept, may be lost by a gap."""
        if self.at_ms is not None:
            return not self.is_known and gap.covers(self.at_ms)
        if gap.state == "closed":  # everything that may be missing was compared, and appended
            return False
        return self.oldest_ms is None or gap.to_ms >= self.oldest_ms


async def explain(
    log: EventLog, asked: str, *, handler: str | None, now_ms: int, limits: Limits = ALL
) -> Explanation:
    """Gather all that the log knows.

    Args:
        asked: id of an event or of a quarantined body, or an entity such as `session:4711`.
        handler: limit the stories to this handler.
        limits: what may be read of an event. An entity is always read as a whole.

    Raises:
        UnknownName: it is neither, or no such handler is registered.
    """
    known = await registered(log)
    if handler is not None and handler not in {facts.name for facts in known}:
        raise await unknown_handler(log, handler)
    wanted = [facts for facts in known if handler in (None, facts.name)]
    unreadable: Quarantined | None = None
    stories: tuple[Story, ...] = ()
    lane: int | None = None
    around_ms: int | None = None
    copies: tuple[Copy, ...] = ()
    about: tuple[Mention, ...] = ()
    if found := EVENT_ID.fullmatch(asked):
        lane = int(found[1])
        stories = (await of_event(log, lane, found[2], wanted, now_ms, limits),)
        around_ms = id_order(found[2])[0]
    elif STREAM_ID.fullmatch(asked):
        unreadable = next(iter((await heads(log, first=asked, last=asked, limit=1)).rows), None)
        around_ms = id_order(asked)[0]
    elif ":" in asked:
        lane = log.lane_of(asked, b"")
        dropped = await copies_of_entity(log, asked)
        stories = await of_entity(log, lane, asked, wanted, now_ms, dropped)
        kept = {story.event.fingerprint for story in stories}
        copies = tuple(copy for copy in dropped if copy.fingerprint not in kept)
        about = tuple(await mentions(log, asked))
    else:
        raise UnknownName(
            f"{asked!r} is neither the id of an event, such as 3-1764000000000-0, nor an entity, such as session:4711"
        )
    key = asked if around_ms is None else stories[0].event.key if stories else None
    records: tuple[KeptRecord, ...] = ()
    finer = NO_FINER
    if key is not None and lane is not None:
        records = await kept_of(log, lane, key, wanted)
        if limits == ALL:
            finer = await finer_kept_of(log, lane, key, wanted)
    return replace(
        await _around(log, asked, lane, stories, known, around_ms, now_ms, limits.gap_bytes),
        quarantined=unreadable,
        copies=copies,
        mentions=about,
        kept=records,
        finer=finer,
    )


async def about_entity(
    log: EventLog,
    key: str,
    lane: int,
    stories: tuple[Story, ...],
    handlers: Sequence[HandlerFacts],
    now_ms: int,
) -> Explanation:
    """Gather the surroundings of stories that were read before. It reads no event."""
    found = await _around(log, key, lane, stories, handlers, None, now_ms, OF_PAGE.gap_bytes)
    return replace(found, kept=await kept_of(log, lane, key, handlers))


async def _around(
    log: EventLog,
    asked: str,
    lane: int | None,
    stories: tuple[Story, ...],
    handlers: Sequence[HandlerFacts],
    at_ms: int | None,
    now_ms: int,
    gap_bytes: int,
) -> Explanation:
    """Gather what may explain stories that were read before."""
    before = "" if at_ms is None else str(at_ms + _NEAR_MS)
    remembered = await SubscriptionStore(log).read()
    oldest, newest = await _span(log, lane)
    return Explanation(
        asked=asked,
        lane=lane,
        at_ms=at_ms,
        lanes=log.lanes,
        stories=stories,
        quarantined=None,
        oldest_ms=oldest,
        newest=newest,
        handlers=tuple(handlers),
        subscribed=frozenset(remembered["types"].split(",")) if remembered.get("types") else None,
        gaps=tuple(_shown((await newest_gaps(log, before=before, most_bytes=gap_bytes)).gaps, at_ms)),
        standing=await standing(log),
        behind=await _behind(log, stories),
        left=await left_types(log),
        refused=await _refused(log, at_ms, now_ms),
    )


async def registered(log: EventLog) -> list[HandlerFacts]:
    """Return the registered handlers, sorted by name."""
    hashes = await at_once(log, *(("HGETALL", name) for name in ("newest", "wants", "handlers", "since")))
    newest, wants, registry, since = (dict(zip(found[::2], found[1::2], strict=True)) for found in hashes)
    paused, outages = await pauses(log), await known_outages(log)
    away, stopped = outages.away, outages.stopped
    alive = await present(log)
    faulty, dropped = faulty_by_name(alive), await unwanted(log)
    served = served_names(alive)
    found = []
    for name, version in sorted(newest.items()):
        record = read_registered(registry.get(name + b"|" + version, b""))
        if record is None:
            continue
        found.append(
            HandlerFacts(
                name.decode(),
                frozenset(wants.get(name, b"").decode().split("\n")),
                whole(since.get(name)) or record["first_seen"],
                served_ms(record),
                paused.get(name.decode()),
                record["declaration"]["queue"],
                away.get(name.decode()),
                None if (one := faulty.get(name.decode())) is None or name.decode() in served else one.fault,
                dropped.get(name.decode()),
                record["declaration"].get("key") is not None,
                {lane: said for (of, lane), said in stopped.items() if of == name.decode()},
            )
        )
    return found


async def _span(log: EventLog, lane: int | None) -> tuple[int | None, str | None]:
    """Return when the oldest kept event of a lane (or of all lanes) arrived, and the id of the newest."""
    oldest, newest = [], []
    for each in [lane] if lane is not None else range(log.lanes):
        first, _, _ = await log.scripts.find(args=[log.key("events", each), "-", 1, 1, 0])  # without the body
        last, *_ = await log.scripts.find_newest(args=[log.prefix, each, "+", "-", 1, 1, "", "", 0, 0])
        if first and last:
            oldest.append(id_order(first.decode())[0])
            newest.append((id_order(last.decode()), each))
    if not newest:
        return None, None
    (ms, seq), of = max(newest)
    return min(oldest), f"{of}-{ms}-{seq}"


async def _behind(log: EventLog, stories: Sequence[Story]) -> dict[str, Behind]:
    waits = {fate.handler for story in stories for fate in story.fates if fate.state == "waiting"}
    if not waits:
        return {}
    rates = await settled_per_s(log)
    return {
        found.name: Behind(found.waiting, rates.get(found.name, 0.0))
        for found in await log.handlers()
        if found.name in waits
    }


async def _refused(log: EventLog, around_ms: int | None, now_ms: int) -> dict[str, int]:
    if around_ms is None:
        return await refused_between(log, now_ms - KEEP_HOURS * HOUR_MS, now_ms)
    if not now_ms - KEEP_HOURS * HOUR_MS <= around_ms <= now_ms + SLOT_MS:
        return {}
    return await refused_between(log, around_ms - SLOT_MS, around_ms + SLOT_MS)


def _shown(gaps: Sequence[Gap], around_ms: int | None) -> Iterator[Gap]:
    """Yield the last gaps of each reason, of all or of those within a day of a moment."""
    near = [
        gap
        for gap in gaps
        if around_ms is None or gap.from_ms - _NEAR_MS <= around_ms <= gap.to_ms + _NEAR_MS
    ]
    for reason in sorted({gap.reason for gap in near}):
        yield from [gap for gap in near if gap.reason == reason][-_SHOWN_GAPS:]
