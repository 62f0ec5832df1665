"""The conformance suite passes good handlers, and each of its tests fails the handlers that it is there for."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from pydantic import Field
from pydantic_settings import BaseSettings

from ampeco.notifications import HardwareStatus, SessionStartStop, SessionUpdate
from handlers import Context, Event, Raw, Retry, Skip, SyncContext, Timer, handler, other
from handlers.testing import FakeAmpeco, conformance, event_of, timer_of


@handler("t.good", calls=["charge-point.reset", "user.add-balance"])
async def good(event: Event[SessionUpdate], ctx: Context) -> None:
    session = event.payload.session
    if session.user_id is None:
        raise Skip("anonymous")
    user = await ctx.ampeco.resources.users.read(session.user_id)
    await ctx.ampeco.actions.user.add_balance(user.id, amount=1.0, reason="thanks")


@handler("t.everything", on=["*"])
async def everything(event: Event[Raw], ctx: Context) -> None:
    ctx.log.debug("seen", fields=len(event.payload.data))


@handler("t.threaded")
def threaded(event: Event[HardwareStatus], ctx: SyncContext) -> None:
    time.sleep(0)


@handler("t.timed", entity_state=dict)
async def timed(event: Event[SessionUpdate | Timer], ctx: Context[None, None, dict[str, Any]]) -> None:
    """Set a timer for each event, so all variants of one entity together set more than it may have."""
    if isinstance(event.payload, Timer):
        ctx.entity_state = {"checked": event.payload.name}
        return
    ctx.later(f"check {event.id}", 60)


TestGood = conformance(good, everything, threaded)
TestTimed = conformance(timed, events=[timer_of(timed, "check 1", {"n": 1})])


def failing(case, name, **how):
    """Run one test of the suite over a handler; return what it says, or None when it passes."""
    suite = conformance(case, **how)
    (mark,) = suite.pytestmark
    (parameter,) = mark.args[1]
    try:
        getattr(suite(), f"test_{name}")(*parameter.values)
    except AssertionError as error:
        return str(error)
    return None


def faulty(body, model=SessionUpdate, **options):
    async def made(event, ctx):
        return await body(event, ctx)

    made.__annotations__ = {"event": Event[model], "ctx": Context, "return": None}
    return handler("t.faulty", **options)(made)


async def breaks_on_a_rare_state(event, ctx):
    {"active": 1, "finished": 2}[event.payload.session.status]


async def needs_an_optional_field(event, ctx):
    event.payload.session.stopped_at.isoformat()


async def counts_raw_fields(event, ctx):
    if len(event.payload.session.model_extra):
        raise Retry("strange")


async def trusts_raw_values(event, ctx):
    float(event.payload.raw_value("session.energy"))


async def refuses_older_events(event, ctx):
    ctx.state.append(event.payload.session.status)
    if len(ctx.state) > 1 and ctx.state[-2] != ctx.state[-1]:
        raise AssertionError


async def mails_each_time(event, ctx):
    ctx.state.append(event.key)


async def sleeps(event, ctx):
    time.sleep(0.001)


async def sleeps_and_hides_it(event, ctx):
    try:
        time.sleep(0.001)
    except Exception as error:
        raise Retry("away") from error


async def sets_a_timer(event, ctx):
    ctx.later("check", 60)


async def keeps_a_state(event, ctx):
    ctx.entity_state = {"status": "active"}


async def calls_undeclared(event, ctx):
    await ctx.ampeco.actions.charge_point.reset(1, "soft")


@pytest.mark.parametrize(
    ("body", "test", "said"),
    [
        (needs_an_optional_field, "takes_every_sample", "AttributeError"),
        (calls_undeclared, "takes_every_sample", "call-not-declared"),
        (sets_a_timer, "takes_every_sample", "timer-undeclared"),
        (keeps_a_state, "takes_every_sample", "state-undeclared"),
        (breaks_on_a_rare_state, "takes_every_variant", "session.status = "),
        (needs_an_optional_field, "takes_every_variant", "session.stoppedAt"),
        (counts_raw_fields, "takes_unknown_fields", "retry"),
        (trusts_raw_values, "takes_odd_fields", "session.energy"),
        (sleeps, "does_not_block", "time.sleep at "),
        (sleeps_and_hides_it, "does_not_block", "time.sleep(0.001)"),
    ],
)
def test_a_fault_is_found(body, test, said):
    assert said in (failing(faulty(body), test) or "nothing")


def test_a_second_effect_of_the_same_event_is_found():
    made, letters = faulty(mails_each_time), []
    how = {"state": lambda: letters, "effects": len}
    assert "after the second time" in (failing(made, "does_it_once", **how) or "nothing")

    async def mails_once(event, ctx):
        await ctx.once("mail", lambda: letters.append(event.key))

    assert failing(faulty(mails_once), "does_it_once", **how) is None


def test_an_order_that_it_does_not_live_with_is_found():
    seen = []
    assert failing(faulty(refuses_older_events), "takes_events_backwards", state=lambda: seen) is not None


def test_what_it_needs_from_ampeco_may_be_missing():
    """With the fake that knows nothing, reading is an error, and its author learns of it."""
    said = failing(good, "takes_every_sample", ampeco=FakeAmpeco)
    assert "NotFound" in (said or "")


def test_settings_without_words_are_found():
    class Settings(BaseSettings):
        url: str = ""

    made = handler("t.settings", settings=Settings)(good.function)
    said = failing(made, "documents_its_settings")
    assert "url has no description" in (said or "")
    assert "no prefix" in (said or "")

    class Documented(BaseSettings, env_prefix="T_"):
        url: str = Field(default="", description="where")

    assert (
        failing(handler("t.settings", settings=Documented)(good.function), "documents_its_settings") is None
    )


def test_a_type_without_a_sample_needs_events():
    @handler("t.newer", on=[other("ticket.changed")])
    async def newer(event: Event[Raw], ctx: Context) -> None:
        _ = event.payload.data["ticket"]

    assert "give events=" in (failing(newer, "takes_every_sample") or "")
    events = [event_of(other("ticket.changed"), ticket={})]
    assert failing(newer, "takes_every_sample", events=events) is None


def test_a_dry_run_sends_nothing():
    assert failing(good, "is_dry") is None


def test_a_dry_run_with_an_effect_of_its_own_is_found():
    letters: list[str] = []
    how = {"state": lambda: letters, "effects": len}
    assert "after the dry run" in (
        failing(faulty(mails_each_time, dry_run=True), "is_dry", **how) or "nothing"
    )

    async def looks(event, ctx):
        if not ctx.dry_run:
            ctx.state.append(event.key)

    assert failing(faulty(looks, dry_run=True), "is_dry", **how) is None


def test_a_module_is_tested_by_its_name():
    suite = conformance("handlers.builtin.demo_reset_faulted")
    assert [parameter.id for parameter in suite.pytestmark[0].args[1]] == ["demo.reset-faulted"]


@handler("t.started")
async def started(event: Event[SessionStartStop], ctx: Context) -> None:
    if event.payload.action == "start":
        raise Skip("goes on")


TestModules = conformance("handlers.builtin.demo_reset_faulted", "handlers.builtin.demo_journal", started)


def test_a_raw_handler_of_a_type_without_a_sample_can_be_tested():
    @handler("t.raw-newer", on=[other("ticket.opened")])
    async def raw(event: Event[Raw], ctx: Context) -> None:
        assert isinstance(event.payload, Raw)

    event = event_of(other("ticket.opened"), ticket={"id": 1})
    for name in ("takes_every_sample", "takes_unknown_fields", "takes_odd_fields"):
        assert failing(raw, name, events=[event]) is None


def test_events_of_a_generator_reach_every_handler():
    ran: list[str] = []

    def counting(name: str):
        @handler(name, on=[other("ticket.opened")])
        async def counted(event: Event[Raw], ctx: Context) -> None:
            ran.append(name)

        return counted

    some = (event_of(other("ticket.opened")) for _ in range(1))
    suite = conformance(counting("t.first"), counting("t.second"), events=some)
    (mark,) = suite.pytestmark
    for parameter in mark.args[1]:
        suite().test_takes_every_sample(*parameter.values)
    assert ran == ["t.first", "t.second"]


def test_effects_are_read_while_the_lifespan_lasts():
    class Register:
        def __init__(self) -> None:
            self.rows: list[str] = []
            self.is_open = True

        def count(self) -> int:
            assert self.is_open
            return len(self.rows)

    @asynccontextmanager
    async def register() -> AsyncIterator[Register]:
        made = Register()
        yield made
        made.is_open = False

    @handler("t.register", lifespan=register, dry_run=True)
    async def registered(event: Event[SessionUpdate], ctx: Context[None, Any]) -> None:
        if not ctx.dry_run:
            await ctx.once("row", lambda: ctx.state.rows.append(event.id))

    for name in ("does_it_once", "is_dry"):
        assert failing(registered, name, effects=lambda state: state.count()) is None


class Mail(BaseSettings, env_prefix="ACME_TESTED_MAIL_"):
    sender: str = Field(description="From whom.")


class Rows(BaseSettings, env_prefix="ACME_TESTED_ROWS_"):
    path: str = Field(default="x.sqlite", description="Where.")


def test_each_handler_gets_the_settings_of_its_class():
    @handler("t.mail", settings=Mail)
    async def mail(event: Event[SessionUpdate], ctx: Context[Mail]) -> None:
        assert ctx.settings.sender == "us"

    @handler("t.rows", settings=Rows)
    async def rows(event: Event[SessionUpdate], ctx: Context[Rows]) -> None:
        assert ctx.settings.path

    one = conformance(mail, rows, settings=Mail(sender="us"))
    both = conformance(mail, rows, settings=[Mail(sender="us"), Rows(path="y")])
    for suite in (one, both):
        for parameter in suite.pytestmark[0].args[1]:
            suite().test_takes_every_sample(*parameter.values)
