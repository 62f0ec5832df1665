"""What a type checker accepts in tests that use the kit; lines that it must refuse end with `# refused`."""

from __future__ import annotations

from ampeco.errors import NoAnswer
from ampeco.notifications import HardwareStatus
from handlers import Context, Event, SyncContext, handler, other
from handlers.testing import FakeAmpeco, Memory, conformance, deliver, event_of


@handler("k.plain")
async def plain(event: Event[HardwareStatus], ctx: Context) -> None: ...


async def uses() -> None:
    event = event_of(HardwareStatus, hardware_status="faulted")
    event.payload.hardware_status
    event.payload.no_such_field  # refused
    named = event_of("HardwareStatusNotification", hardware_status="faulted")
    event_of("HardwareStatusNotifcation")  # refused
    event_of(other("ticket.changed"), ticket={})
    ampeco = FakeAmpeco(unknown="example")
    FakeAmpeco(unknown="anything")  # refused
    ampeco.fail("charge-point.reset", NoAnswer, times=1)
    ampeco.fail("charge-point.reset", ValueError)  # refused
    outcome = await deliver(plain, named, ampeco=ampeco, memory=Memory())
    outcome.kind == "done"
    outcome.kinds  # refused
    [call.operation for call in outcome.calls]
    deliver(plain, event)  # refused
    await deliver(plain.function, event)  # refused


made: Context[None, str] = Context(ampeco=FakeAmpeco().client, settings=None, state="mine")
threaded: SyncContext[None, None] = SyncContext(ampeco=FakeAmpeco().sync_client, settings=None, state=None)
wrong = Context(ampeco=FakeAmpeco().sync_client, settings=None, state=None)  # refused

TestPlain = conformance(plain)
