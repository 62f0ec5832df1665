"""No page depends on how much is kept: bytes from Redis and of the page, with a million events."""

from __future__ import annotations

from commands.explain_text import lines
from eventlog.clock import now_ms
from eventlog.inspection.event_search import LOOKS
from eventlog.inspection.explain import explain
from eventlog.log import EventLog
from tests.harness import opened
from tests.integration.test_console import Visitor, on_log, visiting
from tests.integration.test_console_pages import seen
from tests.large_deployment import BUSY, DEEP, first_of, invoice, made, pages_of
from tests.large_log import NUMBER, LargeLog

AT_MOST_BYTES, AT_MOST_PAGE_BYTES = 200_000, 102_400


def test_no_page_takes_more_than_200_kb_from_redis_with_a_million_events(server, prefix) -> None:
    async def check(log: EventLog) -> None:
        await log.redis.config_set("appendonly", "no")  # nothing is proven by a file of 300 MB
        async with opened(server.url, f"sample-{prefix}") as sample:
            large = await made(log, sample)
            await are_as_appended(large, sample)
        assert sum([await log.redis.xlen(log.key("events", lane)) for lane in range(4)]) >= 1_000_000
        assert await log.redis.xlen(log.key("dead", invoice.name)) == 50_000
        async with visiting(log) as visitor:
            await visitor.get("/")
            faults = [
                fault
                for path, said in (await pages_of(large)).items()
                if (fault := await fault_of(log, visitor, path, said))
            ]
            assert faults == []
            none = seen(await visitor.get("/entity?key=session:99999999"))
            assert f"Read {LOOKS:,} entries" in none
            await an_end_behind_a_million_others_is_beyond_the_page(visitor, large)

    on_log(server, prefix, check)


async def fault_of(log: EventLog, visitor: Visitor, path: str, said: str) -> str:
    """Return what is wrong with a page; empty for nothing."""
    before = (await log.redis.info("stats"))["total_net_output_bytes"]
    answer = await visitor.client.get(f"/console{path}")
    taken = (await log.redis.info("stats"))["total_net_output_bytes"] - before
    print(f"{path[:60]:<60} {answer.status_code} {taken:>9,} {len(answer.content):>9,}")
    if answer.status_code not in (200, 404):  # 404 for an entity without an event
        return f"{path} has the status {answer.status_code}"
    if taken >= AT_MOST_BYTES:
        return f"{path} took {taken:,} bytes"
    if len(answer.content) >= AT_MOST_PAGE_BYTES:
        return f"{path} has {len(answer.content):,} bytes"
    text = seen(answer.text)
    return "" if said in answer.text or said in text else f"{path} says {text}"


async def are_as_appended(large: LargeLog, sample: EventLog) -> None:
    """See that what was written is what an append writes, but for entity, number and time."""
    appended = await first_of(sample, "events", sample.lane_of("session:1", b""))
    lane, _, stream_id = large.id_of(DEEP).partition("-")
    ((_, written),) = await large.log.redis.xrange(large.log.key("events", lane), stream_id, stream_id)
    assert list(written) == list(appended)
    assert written[b"b"] == appended[b"b"].replace(str(NUMBER).encode(), str(DEEP).encode())
    assert {name for name in written if written[name] != appended[name]} == {b"k", b"b", b"r"}


async def an_end_behind_a_million_others_is_beyond_the_page(visitor: Visitor, large: LargeLog) -> None:
    """See that the page says how far it read, and that the command line finds the end."""
    event_id = large.id_of(DEEP)
    page = seen(await visitor.get(f"/event/{event_id}"))
    assert f"{BUSY} ✓ settled settled; how it ended is not in the part of the history that was read" in page
    assert f"explain {event_id} reads all of it" in page
    found = await explain(large.log, event_id, handler=BUSY, now_ms=now_ms())
    assert f"{BUSY}: done at" in " ".join(" ".join(lines(found, ())).split())
