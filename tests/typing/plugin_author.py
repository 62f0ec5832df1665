"""What a plugin author's type checker accepts; lines that it must refuse end with `# refused`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pydantic import BaseModel
from pydantic_settings import BaseSettings

from ampeco.newer import AsIs, Newer, NewerNumber
from ampeco.notifications import HardwareStatus, SessionStartStop, SessionUpdate
from handlers import Backoff, Context, Event, Raw, SyncContext, Throttle, Timer, handler, other


class MailSettings(BaseSettings, env_prefix="ACME_MAIL_"):
    sender: str = "nobody"


class Mailer:
    async def send(self, to: str) -> None: ...


@asynccontextmanager
async def mailer(settings: MailSettings) -> AsyncIterator[Mailer]:
    yield Mailer()


@asynccontextmanager
async def bare() -> AsyncIterator[Mailer]:
    yield Mailer()


@handler("a.plain")
async def plain(event: Event[HardwareStatus], ctx: Context) -> None:
    await ctx.ampeco.actions.charge_point.reset(event.payload.charge_point_id, "soft")
    await ctx.ampeco.actions.charge_point.reset(event.payload.evse_id, "soft")  # refused
    await ctx.ampeco.actions.charge_point.reset("1")  # refused
    event.payload.no_such_field  # refused


@handler("a.strict", strict=True, urgent=True)
async def strict(event: Event[SessionUpdate], ctx: Context) -> None:
    exact = event.payload.exact("session.energy")
    if exact is not None:
        exact.as_tuple()
    exact.as_tuple()  # refused
    event.misfits.index("session.energy")
    event.misfits.append("x")  # refused
    event.payload.session.energy.hex()


@handler("a.union")
async def union(event: Event[SessionStartStop | SessionUpdate], ctx: Context) -> None:
    event.payload.notification
    event.payload.session  # refused


@handler("a.raw", on=["*"])
async def raw(event: Event[Raw], ctx: Context) -> None:
    event.payload.data["anything"]


@handler("a.threaded")
def threaded(event: Event[HardwareStatus], ctx: SyncContext) -> None:
    ctx.ampeco.actions.charge_point.reset("1", "hard")
    started = ctx.ampeco.actions.charge_point.start(1, "2", user_id="4711", payment_method_id=None)
    started.session_id.upper()  # refused
    ctx.ampeco.actions.charge_point.start(1, 2, user_id=None)  # refused
    ctx.ampeco.actions.user.add_balance(7, amount=5.0)  # refused
    ctx.ampeco.actions.user.add_balance(7, amount=5.0, reason="refund", extra={"newer": 1})
    ctx.ampeco.actions.user.add_balance(7, 5.0, "refund")  # refused
    ctx.ampeco.actions.electricity_meter.report_consumption(1, currentL1=5)  # refused
    ctx.ampeco.actions.evse.bulk_assign_tariff_group(tariff_group_id=None, filters={"evseIds": [1, "2"]})
    ctx.ampeco.actions.evse.bulk_assign_tariff_group(tariff_group_id=1, filters={"evse_ids": [1]})  # refused
    ctx.ampeco.actions.charge_point.clear_cache(1, body={"anything": "goes"})
    ctx.ampeco.actions.charge_point.explode(1)  # refused
    ctx.ampeco.actions.charge_point.reset(7, "medium")  # refused
    ctx.ampeco.actions.charge_point.reset(7, Newer("medium"))
    ctx.ampeco.actions.charge_point.change_availability(7, type="Inoperative")
    ctx.ampeco.actions.charge_point.change_availability(7, type="inoperative")  # refused
    ctx.ampeco.actions.charge_point.change_availability(7, type=Newer("Scheduled"))
    ctx.ampeco.actions.charge_point.disconnect(7, reason="x").success
    ctx.ampeco.actions.charge_point.set_security_profile(7, set_security_profile=2, reason="x")
    ctx.ampeco.actions.charge_point.set_security_profile(7, set_security_profile=3, reason="x")  # refused
    ctx.ampeco.actions.charge_point.set_security_profile(7, set_security_profile=NewerNumber(3), reason="x")


@handler("a.resources")
async def resources(event: Event[SessionUpdate], ctx: Context) -> None:
    users = ctx.ampeco.resources.users
    (await users.read(7)).email
    (await users.read(7)).e_mail  # refused
    await users.read(7, version="1.0")
    await users.read(7, version="9.9")  # refused
    await users.read()  # refused
    await users.read(7, 8)  # refused
    made = await users.create({"email": "a@tenant.example", "password": "secret", "first_name": "Ada"})
    made.id  # refused
    await users.update(7, {"city": "Sofia"})
    await users.update(7, body={"city": "Sofia"})
    await users.update(7, {"citty": "Sofia"})  # refused
    await users.update(7, {"city": 5})  # refused
    await users.update({"city": "Sofia"})  # refused
    await users.update(7, AsIs(newField=1))
    await users.update(7, await users.read(7))
    async for user in users.list(filters={"status": "enabled"}):
        user.email
    (await ctx.ampeco.resources.charge_points.read(7)).name
    (await ctx.ampeco.resources.charge_points.read(7, version="1.0")).no_such_field  # refused
    await ctx.ampeco.resources.charge_points.evses.connectors.read(7, 8, 9)
    await ctx.ampeco.resources.charge_points.evses.connectors.read(7, 8)  # refused
    await ctx.ampeco.resources.vouchers.update(7, {"status": "enabled", "amount": 5.0})
    await ctx.ampeco.resources.vouchers.update(7, {"status": Newer("parked"), "amount": 5.0})
    await ctx.ampeco.resources.vouchers.update(7, {"status": "parked", "amount": 5.0})  # refused
    await ctx.ampeco.resources.users.notes.create(7, {"anything": "goes"})


@handler("a.resources-threaded")
def resources_threaded(event: Event[SessionUpdate], ctx: SyncContext) -> None:
    ctx.ampeco.resources.users.read(7).email
    ctx.ampeco.resources.users.update(7, {"city": "Sofia"})
    ctx.ampeco.resources.users.update(7, {"citty": "Sofia"})  # refused
    ctx.ampeco.resources.users.delete(7, 8)  # refused
    [partner.id for partner in ctx.ampeco.resources.partners.list()]


@handler("a.mail", settings=MailSettings, lifespan=mailer)
async def mail(event: Event[SessionUpdate], ctx: Context[MailSettings, Mailer]) -> None:
    await ctx.state.send(ctx.settings.sender)
    ctx.settings.port  # refused


@handler("a.stateful", lifespan=bare)
async def stateful(event: Event[SessionUpdate], ctx: Context[None, Mailer]) -> None:
    await ctx.state.send("somebody")


@handler("a.wrong-context")  # refused
def wrong_context(event: Event[HardwareStatus], ctx: Context) -> None: ...


@handler("a.wrong-settings", settings=MailSettings)  # refused
async def wrong_settings(event: Event[SessionUpdate], ctx: Context[int]) -> None: ...


def finished(event: Event[SessionUpdate]) -> bool:
    return event.payload.session.status == "finished"


@handler(
    "a.policy", order="latest", where=finished, backoff=Backoff(base_s=1.0, jitter=False), not_yet_for_s=60.0
)
async def policy(event: Event[SessionUpdate], ctx: Context) -> None: ...


@handler("a.isolated", isolation="process")
async def isolated(event: Event[SessionUpdate], ctx: Context) -> None: ...


@handler("a.no-backoff", backoff=5.0)  # refused
async def no_backoff(event: Event[SessionUpdate], ctx: Context) -> None: ...


@handler("a.no-filter", where=lambda event: "yes")  # refused
async def no_filter(event: Event[SessionUpdate], ctx: Context) -> None: ...


@handler("a.unknown-order", order="sideways")  # refused
async def unknown_order(event: Event[SessionUpdate], ctx: Context) -> None: ...


@handler("a.filtered", where=finished, calls=["user.add-balance"], settings=MailSettings)
async def filtered(event: Event[SessionUpdate], ctx: Context[MailSettings]) -> None:
    ctx.ampeco.actions.user.add_balance(7, amount=5.0, reason="refund")  # refused
    ctx.once("count", lambda: 1)  # refused


@handler("a.filtered-lambda", where=lambda event: event.payload.hardware_status == "faulted")
async def filtered_by_lambda(event: Event[HardwareStatus], ctx: Context) -> None: ...


@handler("a.filter-of-another-event", where=finished)  # refused
async def filter_of_another_event(event: Event[HardwareStatus], ctx: Context) -> None: ...


def says_yes(event: Event[SessionUpdate]) -> str:
    return "yes"


@handler("a.filter-without-bool", where=says_yes)  # refused
async def filter_without_bool(event: Event[SessionUpdate], ctx: Context) -> None: ...


@handler("a.keyed", key=lambda event: event.payload.evse_id, throttle="1/h")
async def keyed(event: Event[HardwareStatus], ctx: Context) -> None:
    await ctx.once("count", lambda: 1, per="entity")
    if ctx.remembered("count"):
        ctx.remembered("count").upper()  # refused


def session_of(event: Event[SessionUpdate]) -> str:
    return event.payload.session.id


@handler("a.keyed-and-filtered", where=finished, key=session_of, throttle=Throttle("10/m", over="wait"))
async def keyed_and_filtered(event: Event[SessionUpdate], ctx: Context) -> None: ...


@handler("a.key-of-another-event", key=session_of)  # refused
async def key_of_another_event(event: Event[HardwareStatus], ctx: Context) -> None: ...


@handler("a.no-key", key=lambda event: 1.5)  # refused
async def no_key(event: Event[SessionUpdate], ctx: Context) -> None: ...


@handler("a.no-throttle", throttle=Throttle("1/h", over="drop"))  # refused
async def no_throttle(event: Event[SessionUpdate], ctx: Context) -> None: ...


@handler("a.filter-and-state", where=finished, lifespan=bare)
async def filter_and_state(event: Event[SessionUpdate], ctx: Context[None, Mailer]) -> None:
    await ctx.state.send("driver")


@handler("a.filter-settings-and-state", where=finished, settings=MailSettings, lifespan=mailer)
async def filter_settings_and_state(
    event: Event[SessionUpdate], ctx: Context[MailSettings, Mailer]
) -> None: ...


@handler("a.calls", calls=["charge-point.reset", "resources.users.update", other("POST /public-api/x/y")])
async def calls(event: Event[SessionUpdate], ctx: Context) -> None: ...


@handler("a.calls-unknown", calls=["charge-point.rest"])  # refused
async def calls_unknown(event: Event[SessionUpdate], ctx: Context) -> None: ...


@handler("a.calls-a-read", calls=["resources.users.read"])  # refused
async def calls_a_read(event: Event[SessionUpdate], ctx: Context) -> None: ...


@handler("a.types", on=["cdr.received", "receiver.gap.closed", other("ticket.changed")])
async def types(event: Event[Raw], ctx: Context) -> None: ...


@handler("a.types-unknown", on=["cdr.recieved"])  # refused
async def types_unknown(event: Event[Raw], ctx: Context) -> None: ...


@handler("a.wrong-sync-context")  # refused
async def wrong_sync_context(event: Event[HardwareStatus], ctx: SyncContext) -> None: ...


@handler("a.once", lifespan=bare)
async def once(event: Event[SessionUpdate], ctx: Context[None, Mailer]) -> None:
    async def count() -> int:
        return 1

    (await ctx.once("count", count)).bit_length()
    (await ctx.once("count-now", lambda: 1, per="entity", returns=int)).bit_length()
    await ctx.once("mail", lambda: ctx.state.send("somebody"), on_uncertain="retry")
    await ctx.once("mail", count, per="lane")  # refused
    (await ctx.once("count", count)).upper()  # refused


@handler("a.once-threaded")
def once_threaded(event: Event[SessionUpdate], ctx: SyncContext) -> None:
    ctx.once("count", lambda: 1).bit_length()
    ctx.once("count", lambda: 1).upper()  # refused


class Tries(BaseModel):
    count: int


class CheckAgain(Timer):
    data: Tries


@handler("a.timers", entity_state=Tries)
async def timers(event: Event[SessionUpdate | CheckAgain], ctx: Context[None, None, Tries]) -> None:
    event.payload.session  # refused
    if isinstance(event.payload, CheckAgain):
        event.payload.data.count.bit_length()
        event.payload.data.no_such_field  # refused
        return
    event.payload.session.status
    ctx.later("check", 60, Tries(count=1))
    ctx.later("check")  # refused
    ctx.cancel_later("check")
    before = ctx.entity_state
    before.count  # refused
    ctx.entity_state = Tries(count=1 if before is None else before.count + 1)
    ctx.entity_state = {"count": 1}  # refused
    ctx.entity_state = None


@handler("a.raw-timers", on=["*", "receiver.timer"], entity_state=dict[str, int])
def raw_timers(event: Event[Raw], ctx: SyncContext) -> None:
    ctx.later("check", 60)
    ctx.entity_state = {"count": 1}
