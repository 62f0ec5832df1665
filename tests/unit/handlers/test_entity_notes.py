"""What a handler may ask of timers and the state, checked where it asks."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from ampeco.notifications import HardwareStatus, SessionUpdate
from handlers import Context, Event, HandlerError, Raw, Timer, handler
from handlers.entity_notes import UNDECLARED, EntityNotes
from handlers.event import is_timer
from handlers.outcomes import StateRefused, TimerRefused


class Data(BaseModel):
    text: str = ""


def notes(**changes: Any) -> EntityNotes:
    return EntityNotes(**{"key": "session:1", "timers": {}, "model": Data, **changes})


@pytest.mark.parametrize(
    ("arguments", "slug"),
    [
        (("", 1), "timer-name"),
        (("x" * 101, 1), "timer-name"),
        (("two\nlines", 1), "timer-name"),
        ((7, 1), "timer-name"),
        (("a\ud800", 1), "timer-name"),
        (("a", -0.1), "timer-delay"),
        (("a", 30 * 86_400 + 1), "timer-delay"),
        (("a", float("nan")), "timer-delay"),
        (("a", float("inf")), "timer-delay"),
        (("a", 10**400), "timer-delay"),
        (("a", True), "timer-delay"),
        (("a", "60"), "timer-delay"),
        (("a", 1, "x" * 1_023), "timer-data"),
        (("a", 1, "é" * 512), "timer-data"),
        (("a", 1, object()), "timer-data"),
        (("a", 1, float("nan")), "timer-data"),
        (("a", 1, "\ud800"), "timer-data"),
        (("a", 1, Data(text="x" * 1_100)), "timer-data"),
    ],
)
def test_a_timer_out_of_bounds_is_refused(arguments, slug):
    of = notes()
    with pytest.raises(TimerRefused) as refused:
        of.later(*arguments, *[None][len(arguments) - 2 :])
    assert (refused.value.slug, of.changes) == (slug, {})


def test_bounds_themselves_are_allowed():
    of = notes()
    of.later("x" * 100, 30 * 86_400, "x" * 1_022)
    of.later("ü 12:1", 0, Data(text="é"))
    assert of.changes["ü 12:1"].data == '{"text":"é"}'


def test_an_entity_has_at_most_16_timers_of_one_handler():
    of = notes(timers={f"old-{n}": "generation" for n in range(14)})
    of.later("a", 1, None)
    of.later("b", 1, None)
    with pytest.raises(TimerRefused) as refused:
        of.later("c", 1, None)
    assert refused.value.slug == "timer-too-many"
    of.later("a", 2, None)  # it replaces one
    assert of.cancel("old-3")
    of.later("c", 1, None)
    assert not of.cancel("unknown")


def test_what_was_not_declared_or_has_no_entity_is_refused_with_what_to_do():
    for of, slug in ((UNDECLARED, "undeclared"), (notes(key=None), "without-key")):
        with pytest.raises(TimerRefused) as timer:
            of.later("a", 1, None)
        with pytest.raises(TimerRefused):
            of.cancel("a")
        with pytest.raises(StateRefused) as state:
            of.read()
        with pytest.raises(StateRefused):
            of.write(Data())
        assert (timer.value.slug, state.value.slug) == (f"timer-{slug}", f"state-{slug}")
        assert (of.changes, of.is_changed) == ({}, False)


def test_the_annotation_says_whether_a_handler_gets_timers():
    @handler("a")
    async def typed(event: Event[SessionUpdate | Timer], ctx: Context) -> None: ...

    @handler("b", on=["*", "receiver.timer"])
    async def raw(event: Event[Raw], ctx: Context) -> None: ...

    @handler("c", on=["*"])
    async def without(event: Event[Raw], ctx: Context) -> None: ...

    assert (typed.timers, raw.timers, without.timers) == (Timer, Raw, None)
    assert typed.types[-1] == "receiver.timer:a"
    assert typed.model_of("receiver.timer:a") is Timer
    assert without.model_of("receiver.timer:c") is None
    assert [is_timer(name) for name in ("receiver.timer", "receiver.timer:a", "receiver.timers")] == [
        True,
        True,
        False,
    ]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"order": "none"}, "needs order='entity'"),
        ({"order": "latest"}, "needs order='entity'"),
        ({"entity_state": object()}, "pydantic can write"),
    ],
)
def test_a_state_that_cannot_work_is_refused_at_declaration(options, words):
    with pytest.raises(HandlerError, match=words):

        @handler("a", **{"entity_state": Data, **options})
        async def a(event: Event[SessionUpdate | Timer], ctx: Context) -> None: ...


def test_latest_of_everything_may_not_have_a_state():
    with pytest.raises(HandlerError, match="needs order='entity'"):

        @handler("a", entity_state=Data, order="latest", on=["*"])
        async def a(event: Event[Raw], ctx: Context) -> None: ...


def test_latest_of_one_type_may_have_a_state():
    @handler("a", entity_state=Data, order="latest", on=["x"])
    async def a(event: Event[Raw], ctx: Context) -> None: ...

    @handler("b", entity_state=Data, order="latest", key=lambda event: event.payload.evse_id)
    async def b(event: Event[HardwareStatus], ctx: Context) -> None: ...

    assert a.entity_state is b.entity_state is Data


def test_latest_of_every_type_or_of_each_evse_has_no_state():
    """Events of two types, or of two EVSEs, run at the same time and would share the state."""
    with pytest.raises(HandlerError, match="needs order='entity'"):

        @handler("a", entity_state=Data, order="latest", on=["*"])
        async def a(event: Event[Raw], ctx: Context) -> None: ...

    with pytest.raises(HandlerError, match="needs order='entity'"):

        @handler("b", entity_state=Data, order="latest")
        async def b(event: Event[HardwareStatus], ctx: Context) -> None: ...


def test_a_context_made_by_hand_takes_notes_and_forgets_them():
    ctx: Context[None, None, Any] = Context(ampeco=lambda: None, settings=None, state=None)  # type: ignore[arg-type,return-value]
    ctx.later("a", 1, {"x": 1})
    assert ctx.cancel_later("a") is True
    assert ctx.entity_state is None
    ctx.entity_state = {"x": 1}
    assert ctx.entity_state == {"x": 1}
