"""A deployment with a million events and 20 handlers, and what every page of the console shows of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ampeco.notifications import SessionUpdate
from ampeco.observed_shape import observed
from ampeco.shape_record import encode_shape
from eventlog.audit import MOST_ACTS, Act, write
from eventlog.clock import now_ms, rfc3339
from eventlog.gap_records import Gaps
from eventlog.inspection.explain import explain
from eventlog.log import EventLog, Unreadable
from eventlog.recent_calls import RecentCall, remember
from eventlog.shapes import put_shape
from eventlog.turned_away import Copy, note
from handlers import Context, Event, GiveUp, Retry, handler
from tests.harness import declaration, drained, event
from tests.large_log import NUMBER, POINT, LargeLog

WAITS: Final = "acme.copy-00"
"""Has the most open events that it can have, and waits."""
BUSY: Final = "acme.copy-01"
"""Has settled a million other events between the arrival of `DEEP` and its end."""
DEEP: Final = 1_237
"""An event that was settled at once, with 998,762 newer ones."""
DEAD: Final = 400_000
"""An event whose dead letter has 30,000 newer ones."""

_BODIES = 20_000  # in quarantine
_COPIES = 3_000  # of one event, dropped


@handler("acme.invoice")
async def invoice(event: Event[SessionUpdate], ctx: Context[Any, Any]) -> None:
    match event.key:
        case "session:4711":
            raise GiveUp("user has no e-mail address")
        case "session:4":
            raise Retry("mail server is busy", after_s=600)


async def made(log: EventLog, sample: EventLog, events: int = 1_000_000) -> LargeLog:
    """Write everything.

    Args:
        sample: an empty log on the same server, from which records are copied.
    """
    many = [declaration(invoice, name=f"acme.copy-{n:02}") for n in range(19)]
    await log.declare([declaration(invoice), *many])
    await sample.declare([declaration(invoice)])
    await sample.append([event(key="session:1", n=NUMBER), event(key="session:4711"), event(key="session:4")])
    await drained(sample, invoice)
    large = LargeLog(log, events)
    registered = {one.name: large.time_of(0) - 1 for one in await log.handlers(measure=False)}
    await log.redis.hset(log.key("since"), mapping=registered)
    await large.write_events(await first_of(sample, "events", sample.lane_of("session:1", b"")))
    await large.settle(invoice.name, await first_of(sample, "dead", invoice.name))
    await large.settle_late(BUSY, large.id_of(DEEP), large.key_of(DEEP))
    (waiting,) = await sample.redis.hvals(sample.key("open", invoice.name, sample.lane_of("session:4", b"")))
    await large.park(WAITS, waiting, 9_999)
    await sample.append([Unreadable(b"x" * 500, "not-json", now_ms(), "0a1b2c3d")])
    await large.copy("quarantine", await first_of(sample, "quarantine"), _BODIES)
    await write(sample, Act("nora", "host", "cli", "dead retry", {"ids": ["x" * 200] * 20}, 20))
    await large.copy("audit", await first_of(sample, "audit"), MOST_ACTS)
    await _written_rest(log, large)
    return large


async def _written_rest(log: EventLog, large: LargeLog) -> None:
    """Write counters of handlers, gaps, shapes, calls and dropped copies."""
    calls = {f"call:users.update-{n % 5}|2xx|{n // 5 * 100}": 1 for n in range(60)}
    for one in await log.handlers(measure=False):
        await log.redis.hset(log.key("stats", one.name), mapping=calls)
    types = [f"own.type-{n:03}" for n in range(60)]
    for n in range(300):
        await Gaps(log).note("not-subscribed", now_ms() - 90_000_000 + n, now_ms() - n, types)
    wide = observed(
        {f"field_{chr(97 + n % 26)}{chr(97 + n // 26)}": 1 for n in range(400)}, 0, lambda _: True
    )
    for n in range(200):
        await put_shape(log, f"own.type-{n:03}", b"", encode_shape(wide), is_known=False)
    act = RecentCall(0, "users.update", invoice.name, large.id_of(DEAD))
    for n in range(10):
        await remember(log, act, [POINT], nonce=f"{n}", depth=50, echo_at_ms=None, lift=False)
    (story,) = (await explain(log, large.id_of(DEEP), handler=invoice.name, now_ms=now_ms())).stories
    copy = Copy("x", large.key_of(DEEP), "equal-body", now_ms(), "0a1b2c3d", story.event.fingerprint)
    for _ in range(_COPIES // 100):
        await note(log, {}, [copy] * 100)


async def first_of(log: EventLog, *parts: object) -> dict[bytes, bytes]:
    """Return the fields of the first entry of a stream."""
    ((_, fields),) = await log.redis.xrange(log.key(*parts), count=1)
    return dict(fields)


async def pages_of(large: LargeLog) -> Mapping[str, str]:
    """Return the path of every page, and of searches that find nothing, with something that it says."""
    log, deep, dead = large.log, large.id_of(DEEP), large.id_of(DEAD)
    ((body, _),) = await log.redis.xrange(log.key("quarantine"), count=1)
    ((act, _),) = await log.redis.xrevrange(log.key("audit"), count=1)
    hour = f"since={rfc3339(large.time_of(500_000))}&until={rfc3339(large.time_of(550_000))}"
    of_point = f"key={POINT}&before={large.id_of(500_000)}"
    return {
        "/": "Needs attention",
        "/events": "before=",
        f"/events?key={POINT}": "before=",
        "/events?type=none.such": "None of this type was ever accepted",
        f"/events?handler={invoice.name}&state=retry": "no event among those that were read is retry",
        f"/events?{hour}": large.id_of(549_999),
        f"/events?{hour}&type=none.such": "The search stopped at its bound",
        "/events?until=48h+ago": "No event found",
        f"/events?before={deep}": "before=",
        f"/entity?key={POINT}": "before=",
        f"/entity?{of_point}": large.id_of(499_990),
        f"/entity?key={large.key_of(DEEP)}": "Read",
        "/entity?key=session:99999999": "No event of it found",
        f"/event/{deep}": "done at",
        f"/event/{dead}": "Its dead letter",
        f"/event/{large.id_of(99_980)}": f"It waits behind {large.id_of(0)}",
        "/handlers": WAITS,
        f"/handlers/{invoice.name}": "50,000",
        f"/handlers/{WAITS}": "9,999",
        f"/handlers/{invoice.name}/replay": "Replay",
        "/dead": "50,000",
        f"/dead?handler={invoice.name}&reason=none": "2,000",
        f"/dead/{invoice.name}/{large.time_of(DEAD) + 20}-0": dead,
        f"/dead/plan/retry?handler={invoice.name}": "20,000",
        "/quarantine": "not-json",
        "/quarantine?reason=none": "2,000",
        f"/quarantine/{body.decode()}": "not-json",
        "/quarantine/plan/discard": "10,000",
        "/line": "not-subscribed",
        "/shapes": "own.type-000",
        "/shapes?type=own.type-000": "field_aa",
        "/audit": "dead retry",
        f"/audit?before={act.decode()}": "dead retry",
        "/help": "<h1>Help</h1>",
    }
