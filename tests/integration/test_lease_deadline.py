"""After the deadline of its lease a drain starts nothing and calls nothing: another process may be at work.

And what may have killed a worker stays suspect, however the drains after it end.
"""

from __future__ import annotations

import asyncio

import httpx2

from ampeco.async_client import AsyncClient
from eventlog.lease import Lease, Settlement
from eventlog.log import EventLog
from eventlog.record import decode_open
from eventlog.step_ledger import StepLedger
from handlers import Context, Event, Raw, handler
from tests.harness import VERSION, at_work, declaration, event, eventually
from workers.delivery.attempt import Runtime
from workers.drain.dispatcher import Dispatcher
from workers.drain.suspects import Suspects


def lease_over(dispatcher: Dispatcher) -> None:
    """As when the process stood still for longer than its lease."""
    for drain, _ in dispatcher._drains.values():
        drain.lease.deadline_s = 0.0


async def worked(dispatcher: Dispatcher) -> None:
    while await dispatcher.work():
        pass
    await dispatcher.stop()


async def died_at_work(log: EventLog, count: int) -> None:
    """A drain took the lane and events of it, and is no more."""
    dead = Lease(log, "h", 0, "default")
    start = await dead.take()
    assert start is not None
    await dead.step(Settlement(), after=start.cur, count=count)
    await log.redis.delete(log.key("lease", "h", 0))
    await log.redis.zadd(log.key("due", "default"), {"h|0": 0})


def test_no_attempt_starts_after_the_deadline(with_lane):
    ran: list[int] = []

    @handler("h", on=["*"], order="none", start="oldest")
    async def h(event: Event[Raw], ctx: Context) -> None:
        ran.append(event.payload.data["n"])
        lease_over(dispatcher)

    dispatcher: Dispatcher

    async def check(log: EventLog) -> None:
        nonlocal dispatcher
        await log.declare([declaration(h)])
        await log.append([event(key=None, n=n) for n in range(5)])
        dispatcher = Dispatcher(log, "default", {"h": Runtime(h, VERSION)})
        await worked(dispatcher)
        assert ran == [0]

    with_lane(check)


def test_no_call_leaves_after_the_deadline(with_lane):
    sent: list[str] = []
    swallowed: list[Exception] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        sent.append(request.url.path)
        return httpx2.Response(200, json={"data": {"id": "7"}})

    @handler("h", on=["*"], start="oldest")
    async def h(event: Event[Raw], ctx: Context) -> None:
        await ctx.ampeco.resources.users.read("7")
        lease_over(dispatcher)
        try:
            await ctx.ampeco.resources.users.read("8")
        except Exception as error:
            swallowed.append(error)

    dispatcher: Dispatcher

    async def check(log: EventLog) -> None:
        nonlocal dispatcher
        await log.declare([declaration(h)])
        await log.append([event()])
        transport = httpx2.MockTransport(answer)
        async with AsyncClient("http://127.0.0.1:1", "token", transport=transport) as client:
            dispatcher = Dispatcher(log, "default", {"h": Runtime(h, VERSION, client=client)})
            await worked(dispatcher)
        assert [path.rpartition("/")[2] for path in sent] == ["7"]
        assert not swallowed

    with_lane(check)


def test_a_step_is_not_called_when_its_beginning_took_longer_than_the_lease(with_lane, monkeypatch):
    """Then it is as if it had not begun, so that the worker that has the lease now may call it."""
    called: list[int] = []
    begin = StepLedger.begin

    async def slow(*arguments, **options):
        standing = await begin(*arguments, **options)
        lease_over(dispatcher)
        return standing

    monkeypatch.setattr(StepLedger, "begin", slow)

    @handler("h", on=["*"], start="oldest")
    async def h(event: Event[Raw], ctx: Context) -> None:
        await ctx.once("pay", lambda: called.append(1))

    dispatcher: Dispatcher

    async def check(log: EventLog) -> None:
        nonlocal dispatcher
        await log.declare([declaration(h)])
        await log.append([event()])
        dispatcher = Dispatcher(log, "default", {"h": Runtime(h, VERSION)})
        await worked(dispatcher)
        assert called == []
        assert [key async for key in log.redis.scan_iter(match=log.key("ledger", "*"))] == []

    with_lane(check)


def test_a_suspect_does_not_run_after_the_deadline_and_is_not_counted(with_lane, monkeypatch):
    """Its mark may be written by a step whose answer comes late."""
    ran: list[int] = []
    marked, late = Suspects.marked, 0

    @handler("h", on=["*"], start="oldest")
    async def h(event: Event[Raw], ctx: Context) -> None:
        ran.append(ctx.attempt)

    def marked_late(suspects: Suspects, entries) -> None:
        nonlocal late
        entries = list(entries)
        if any(entry.suspect for entry in entries):
            late += 1
            suspects._lease.deadline_s = 0.0
        marked(suspects, entries)

    monkeypatch.setattr(Suspects, "marked", marked_late)

    async def check(log: EventLog) -> None:
        await log.declare([declaration(h)])
        await log.append([event()])
        await died_at_work(log, 1)
        await worked(Dispatcher(log, "default", {"h": Runtime(h, VERSION)}))
        assert late == 1
        assert ran == []

    with_lane(check)


def test_the_log_has_counted_a_suspect_before_it_runs(with_lane):
    """Else the death that it causes again would never be the third one."""
    crashes: list[tuple[str, int]] = []

    @handler("h", on=["*"], start="oldest")
    async def h(event: Event[Raw], ctx: Context) -> None:
        (raw,) = (await open_log.redis.hgetall(open_log.key("open", "h", 0))).items()
        record = decode_open(0, *raw)
        crashes.append((record.state, record.crashes))

    open_log: EventLog

    async def check(log: EventLog) -> None:
        nonlocal open_log
        open_log = log
        await log.declare([declaration(h)])
        await log.append([event()])
        await died_at_work(log, 1)
        await worked(Dispatcher(log, "default", {"h": Runtime(h, VERSION)}))
        assert crashes == [("running", 1)]

    with_lane(check)


def test_a_suspect_that_a_polite_stop_kept_from_running_stays_one(with_lane):
    """Else an event that kills workers would never be counted, where stops and deaths take turns."""
    ran: list[int] = []

    @handler("h", on=["*"], start="oldest")
    async def h(event: Event[Raw], ctx: Context) -> None:
        ran.append(event.payload.data["n"])
        await asyncio.sleep(0.2)

    async def check(log: EventLog) -> None:
        await log.declare([declaration(h)])
        await log.append([event(key=f"session:{n}", n=n) for n in range(3)])
        await died_at_work(log, 3)

        async def first_runs() -> bool:
            return bool(ran)

        async with at_work(log, h):
            await eventually(first_runs, every_s=0.005)
        assert ran == [0]
        left = await Lease(log, "h", 0, "default").take()
        assert left is not None
        assert [(one.state, one.crashes) for one in left.open] == [("running", 0), ("running", 0)]

    with_lane(check)
