"""The handlers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import httpx2
from pydantic import BaseModel

from acme_charging.register import SessionRegister
from acme_charging.settings import AcmeSettings
from ampeco.notifications import HardwareStatus, SessionUpdate
from ampeco.states import Hardware
from handlers import Context, Event, Retry, Skip, SyncContext, Timer, handler

BLOCKED = (Hardware.FINISHING, Hardware.OCCUPIED, Hardware.SUSPENDED_EV)


def is_faulted(event: Event[HardwareStatus]) -> bool:
    return event.payload.hardware_status == Hardware.FAULTED


def is_finished(event: Event[SessionUpdate]) -> bool:
    return event.payload.session.status == "finished"


@asynccontextmanager
async def register(settings: AcmeSettings) -> AsyncIterator[SessionRegister]:
    yield SessionRegister(settings.database)


@asynccontextmanager
async def billing(settings: AcmeSettings) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(base_url=settings.billing_url, timeout=10.0) as client:
        yield client


@handler("acme.session-register", settings=AcmeSettings, lifespan=register, where=is_finished, dry_run=True)
def session_register(event: Event[SessionUpdate], ctx: SyncContext[AcmeSettings, SessionRegister]) -> None:
    """A `def` handler, since SQLite blocks."""
    session = event.payload.session
    if not ctx.dry_run:
        ctx.state.write(session.id, session.energy)


@handler("acme.billing", settings=AcmeSettings, lifespan=billing, where=is_finished)
async def bill(event: Event[SessionUpdate], ctx: Context[AcmeSettings, httpx2.AsyncClient]) -> None:
    session = event.payload.session
    if session.payment_status != "paid":
        raise Skip("the session is not paid")

    async def post() -> None:
        bill = {"session": session.id, "user": session.user_id, "energy_wh": session.energy}
        try:
            answer = await ctx.state.post("/bills", json=bill)
        except httpx2.ConnectError:
            raise Retry("the billing system is away") from None
        answer.raise_for_status()

    await ctx.once("bill", post, per="entity")


@handler("acme.fault-reset", where=is_faulted, throttle="1/h", calls=["charge-point.reset"])
async def fault_reset(event: Event[HardwareStatus], ctx: Context) -> None:
    charge_point_id = event.payload.charge_point_id
    charge_point = await ctx.ampeco.resources.charge_points.read(charge_point_id)
    if charge_point.hardware_status != Hardware.FAULTED:
        raise Skip("the charge point has recovered")
    await ctx.ampeco.actions.charge_point.reset(charge_point_id, "soft")


class Parked(BaseModel):
    user_id: str
    evse_id: str


class FreeTimeIsOver(Timer):
    data: Parked


@handler("acme.overstay", settings=AcmeSettings, calls=["user.apply-custom-fee"])
async def overstay(event: Event[SessionUpdate | FreeTimeIsOver], ctx: Context[AcmeSettings]) -> None:
    if isinstance(event.payload, SessionUpdate):
        session = event.payload.session
        if session.status != "finished":
            raise Skip("the session is not finished")
        if session.stopped_at is None or session.evse_id is None or session.user_id is None:
            raise Skip("no driver to charge")
        free_until = session.stopped_at + timedelta(minutes=ctx.settings.free_minutes)
        left_s = max(0.0, (free_until - event.received_at).total_seconds())
        ctx.later("free-time", left_s, Parked(user_id=session.user_id, evse_id=session.evse_id))
        return
    parked = event.payload.data
    evse = await ctx.ampeco.resources.evses.read(parked.evse_id)
    if evse.hardware_status not in BLOCKED:
        raise Skip("the car has left")
    await ctx.once(
        "fee",
        lambda: ctx.ampeco.actions.user.apply_custom_fee(
            parked.user_id, amount=ctx.settings.overstay_fee, description="The car stayed too long"
        ),
        per="entity",
    )
