"""What a handler may declare, and what is refused with words."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, ClassVar

import pytest
from pydantic_settings import BaseSettings

from ampeco.notifications import HardwareStatus, Payload, SessionStartStop, SessionUpdate
from eventlog.ids import HANDLER_NAME
from handlers import Backoff, Context, Event, HandlerError, Raw, SyncContext, Timer, declaration, handler
from handlers.internal import PAYLOADS


class CdrReceived(Payload):
    notification_types: ClassVar[tuple[str, ...]] = ("cdr.received",)


class Nameless(Payload):
    pass


class MailSettings(BaseSettings, env_prefix="ACME_MAIL_"):
    sender: str = "nobody"


def test_the_annotation_is_the_subscription():
    @handler("a.union")
    async def union(event: Event[SessionStartStop | SessionUpdate | CdrReceived], ctx: Context) -> None: ...

    assert union.types == (
        "SessionStartStopNotification",
        "SessionUpdateNotification",
        "cdr.received",
        "session.start.stop.notification",
    )
    assert union.model_of("SessionUpdateNotification") is SessionUpdate
    assert union.model_of("cdr.received") is CdrReceived
    assert union.model_of("BootNotification") is None


def test_a_raw_handler_names_its_types_or_takes_everything():
    @handler("a.raw", on=["x.changed"])
    async def some(event: Event[Raw], ctx: Context) -> None: ...

    @handler("a.all", on=["*"])
    async def everything(event: Event[Raw], ctx: Context) -> None: ...

    assert some.types == ("x.changed",)
    assert some.model_of("y.changed") is None
    assert everything.model_of("anything") is Raw


def test_a_handler_is_still_its_function():
    called: list[Any] = []

    @handler("a.direct", on=["*"])
    async def direct(event: Event[Raw], ctx: Context) -> None:
        called.append((event, ctx))

    asyncio.run(direct("event", "context"))  # type: ignore[arg-type]
    assert called == [("event", "context")]


def test_plain_functions_and_coroutines_are_told_apart():
    @handler("a.sync")
    def plain(event: Event[HardwareStatus], ctx: SyncContext) -> None: ...

    @handler("a.async")
    async def coroutine(event: Event[HardwareStatus], ctx: Context) -> None: ...

    assert (plain.is_async, coroutine.is_async) == (False, True)


def test_settings_and_lifespan_are_kept_for_the_worker():
    @asynccontextmanager
    async def mailer(settings: MailSettings) -> AsyncIterator[str]:
        yield settings.sender

    @handler("a.mail", settings=MailSettings, lifespan=mailer)
    async def mail(event: Event[SessionUpdate], ctx: Context[MailSettings, str]) -> None: ...

    assert (mail.settings, mail.lifespan) == (MailSettings, mailer)


class Soon(Timer):
    data: int


class Late(Timer):
    data: str


class OwnUpdate(SessionUpdate):
    """Another view of a type that has a model."""


async def _async(event: Event[SessionUpdate], ctx: Context) -> None: ...
async def _raw(event: Event[Raw], ctx: Context) -> None: ...
async def _unannotated(event, ctx) -> None: ...
async def _payload(event: SessionUpdate, ctx: Context) -> None: ...
async def _type_name(event: Event[SessionUpdateNotification], ctx: Context) -> None: ...  # type: ignore[name-defined] # noqa: F821
async def _one(event: Event[SessionUpdate]) -> None: ...
async def _nameless(event: Event[Nameless], ctx: Context) -> None: ...
async def _mixed(event: Event[Raw | SessionUpdate], ctx: Context) -> None: ...
async def _with_sync_context(event: Event[SessionUpdate], ctx: SyncContext) -> None: ...
def _with_context(event: Event[SessionUpdate], ctx: Context) -> None: ...
async def _two_timers(event: Event[SessionUpdate | Soon | Late], ctx: Context) -> None: ...
async def _two_models(event: Event[SessionUpdate | OwnUpdate], ctx: Context) -> None: ...


class GreedySettings(BaseSettings, env_prefix="AWR_"):
    port: int = 1


@pytest.mark.parametrize(
    ("function", "options", "says"),
    [
        (_async, {"name": "Upper.Case"}, "lower case"),
        (_async, {"name": "a" * 65}, "at most 64"),
        (_async, {"name": "-dash"}, "lower case"),
        (_async, {"order": "sideways"}, "order must be one of entity, none, latest"),
        (_async, {"where": _async}, "where must be a plain function"),
        (_async, {"where": "status == 'active'"}, "where must be a plain function"),
        (_async, {"backoff": Backoff(base_s=0)}, "0 < base_s <= cap_s"),
        (_async, {"backoff": Backoff(base_s=9, cap_s=3)}, "0 < base_s <= cap_s"),
        (_async, {"backoff": 5.0}, "must be a Backoff"),
        (_async, {"not_yet_for_s": 0}, "not_yet_for_s must be positive"),
        (_async, {"isolation": "thread"}, "isolation must be None or 'process'"),
        (_async, {"strict": "yes"}, "strict must be True or False"),
        (_async, {"urgent": "yes"}, "urgent must be True or False"),
        (_async, {"queue": "bulk.isolated"}, "use isolation='process'"),
        (_async, {"start": "never"}, "start must be one of now, oldest"),
        (_async, {"max_attempts": 0}, "positive"),
        (_async, {"timeout_s": 0}, "positive"),
        (_async, {"calls": ["charge-point.explode"]}, "unknown operations: charge-point.explode"),
        (_async, {"calls": ["notifications.list"]}, "unknown operations"),
        (_async, {"calls": ["POST /admin/{id}"]}, "POST /admin/{id}.*must begin with /public-api/"),
        (_async, {"calls": ["post /public-api/actions/x/v1.0"]}, "the method must be one of"),
        (_async, {"on": ["cdr.received"]}, "contradicts"),
        (_async, {"settings": GreedySettings}, "not AWR_"),
        (_raw, {}, r'needs on=\["\.\.\."\]'),
        (_unannotated, {}, r"annotate its first parameter as Event"),
        (_payload, {}, r"annotate its first parameter as Event\[SessionUpdate\]"),
        (_type_name, {}, "the class of its payload is SessionUpdate, without quotes"),
        (_raw, {"on": [SessionUpdate]}, r"write Event\[SessionUpdate\] and no on="),
        (_one, {}, "takes an event and a context"),
        (_nameless, {}, "Nameless names no notification types"),
        (_mixed, {}, "or Raw alone"),
        (_with_sync_context, {}, "its context must be Context"),
        (_with_context, {}, "its context must be SyncContext"),
        (_two_timers, {}, "Soon and Late are payloads of one type: one class has all timers"),
        (_two_models, {}, "SessionUpdate and OwnUpdate are payloads of one type: name one of both"),
    ],
)
def test_refuses_a_declaration_that_contradicts_itself(function: Any, options: dict[str, Any], says: str):
    name = options.pop("name", "a.faulty")
    with pytest.raises(HandlerError, match=says) as error:
        handler(name, **options)(function)
    assert name in str(error.value)


def test_a_handler_is_urgent_only_when_it_says_so() -> None:
    assert handler("a.usual")(_async).urgent is False
    assert handler("a.urgent", urgent=True)(_async).urgent is True


def test_a_handler_is_strict_only_when_it_says_so() -> None:
    assert handler("a.lenient")(_async).strict is False
    assert handler("a.strict", strict=True)(_async).strict is True


def test_calls_takes_writes_of_resources_and_no_reads() -> None:
    declared = handler("a.writer", calls=["resources.users.update", "resources.id-tags.create"])(_async)
    assert declared.calls == {"resources.users.update", "resources.id-tags.create"}
    for name in ("resources.users.read", "resources.users.list", "logs.ocpi.read", "resources.users.explode"):
        with pytest.raises(HandlerError, match=f"unknown operations: {name}"):
            handler("a.reader", calls=[name])(_async)


@pytest.mark.parametrize("name", PAYLOADS)
def test_an_internal_event_is_wanted_by_name_and_has_its_payload(name):
    @handler("a.raw", on=[name])
    async def raw(event: Event[Raw], ctx: Context) -> None: ...

    async def typed(event: Event[Any], ctx: Context) -> None: ...

    typed.__annotations__["event"] = Event[PAYLOADS[name]]
    assert raw.types == handler("a.typed")(typed).types == (name,)
    assert raw.model_of(name) is Raw

    @handler("a.all", on=["*"])
    async def everything(event: Event[Raw], ctx: Context) -> None: ...

    assert everything.model_of(name) is None
    assert everything.model_of("anything.else") is Raw


def test_an_internal_event_that_does_not_exist_is_refused_with_those_that_do():
    with pytest.raises(HandlerError, match=r"receiver\.gap\.close'.*receiver\.gap\.closed"):

        @handler("a.typo", on=["receiver.gap.close"])
        async def typo(event: Event[Raw], ctx: Context) -> None: ...


def test_the_log_and_the_settings_take_the_names_that_a_handler_may_have() -> None:
    """`handlers` and `eventlog` import nothing of each other, so the pattern is written in both."""
    assert declaration.NAME.pattern == HANDLER_NAME.pattern


def test_a_handler_is_on_unless_it_says_otherwise():
    async def plain(event: Event[Raw], ctx: Context) -> None: ...

    assert handler("a.on", on=["*"])(plain).enabled
    assert not handler("a.off", on=["*"], enabled=False)(plain).enabled
    with pytest.raises(HandlerError, match="enabled must be True or False"):
        handler("a.odd", on=["*"], enabled="yes")(plain)  # type: ignore[arg-type]


def test_a_decorator_without_a_name_says_so():
    with pytest.raises(TypeError, match="@handler needs a name: @handler"):
        handler(_async)  # type: ignore[arg-type]
