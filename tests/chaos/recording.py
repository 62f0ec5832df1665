"""Handlers that write down what happens to them, each line with one appending write, so that kills tear nothing.

Loaded by the workers of a chaos run alone. What a handler does to an event depends on the event and the attempt only.

    ["b", run, handler, event id, key, n, attempt, pid, seconds, replayed, type]     an attempt begins
    ["e", run, pid, seconds, outcome, result]                        it ends, in any way
    ["x", scope, step, token, pid]                                   the effect of a once-only step
    ["t", event id, name, event that set it]                         a timer fell due
    ["u", pid, seconds]                                              a worker is up (in a file of its own)
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any

from handlers import Backoff, Context, Event, GiveUp, Raw, Skip, SyncContext, handler
from tests.chaos.roles import BOTH, ROLES, STEP_SPAN, WIDENED, chance
from tests.chaos.timers import TIMERS, folded, wish

NEXT = "CHAOS_NEXT"  # set by the next version of this code (`recording_next.py`)
_MODE = os.O_WRONLY | os.O_APPEND | os.O_CREAT
_FILE = os.open(os.environ["CHAOS_RECORD"], _MODE, 0o600)
_UPS = os.open(os.environ["CHAOS_UPS"], _MODE, 0o600)
_QUICK = Backoff(base_s=0.2, cap_s=1.0)
_SLOW_S = 0.8  # longer than a drain lets one event hold its cursor


def _write(*fields: object, file: int = _FILE) -> None:
    os.write(file, json.dumps(fields, separators=(",", ":")).encode() + b"\n")


def _n(event: Event[Raw]) -> int:
    return int(event.payload.data.get("n", 0))


def _luck(name: str, event: Event[Raw], *of: object) -> float:
    """Draw the outcome of an attempt. Draw again for a repetition, else a dead event would stay dead."""
    return chance(name, event.id, *of, *(["again"] if event.replayed else []))


def _takes_s(name: str, event: Event[Raw]) -> float:
    share = chance(name, "takes", event.id)
    return _SLOW_S if share > 0.99 else 0.02 * share


@contextlib.contextmanager
def _attempt(name: str, event: Event[Raw], attempt: int) -> Iterator[list[str]]:
    """One attempt, from its first line to its last; what is put into the list becomes its result."""
    run, result = uuid.uuid4().hex[:12], [""]
    about = (event.id, event.key, _n(event), attempt, os.getpid(), time.monotonic())
    _write("b", run, name, *about, event.replayed, event.type)
    outcome = "done"
    try:
        yield result
    except BaseException as error:
        outcome = type(error).__name__
        raise
    finally:
        _write("e", run, os.getpid(), time.monotonic(), outcome, result[-1])


def _declared(name: str) -> dict[str, Any]:
    role = ROLES[name]
    return {
        "on": (*role.types, *role.later_types) if os.environ.get(NEXT) else role.types,
        "order": role.order,
        "start": "oldest",
        "where": lambda event: not role.leaves_out(_n(event)),
        "isolation": "process" if role.isolated else None,
        "key": (lambda event: _n(event) % role.parts) if role.parts else None,
        "throttle": f"{role.slots}/h" if role.slots else None,
    }


@contextlib.asynccontextmanager
async def _up() -> AsyncIterator[None]:
    _write("u", os.getpid(), time.monotonic(), file=_UPS)
    yield


@handler("chaos.entity", lifespan=_up, **_declared("chaos.entity"))
async def entity(event: Event[Raw], ctx: Context) -> None:
    with _attempt("chaos.entity", event, ctx.attempt):
        await asyncio.sleep(_takes_s("chaos.entity", event))


@handler("chaos.none", **_declared("chaos.none"))
async def none(event: Event[Raw], ctx: Context) -> None:
    with _attempt("chaos.none", event, ctx.attempt):
        await asyncio.sleep(_takes_s("chaos.none", event))


@handler("chaos.latest", backoff=_QUICK, max_attempts=4, **_declared("chaos.latest"))
async def latest(event: Event[Raw], ctx: Context) -> None:
    with _attempt("chaos.latest", event, ctx.attempt):
        await asyncio.sleep(_takes_s("chaos.latest", event))
        if _luck("latest", event, ctx.attempt) < 0.1:
            raise ValueError


@handler("chaos.flaky", backoff=_QUICK, max_attempts=4, **_declared("chaos.flaky"))
async def flaky(event: Event[Raw], ctx: Context) -> None:
    with _attempt("chaos.flaky", event, ctx.attempt):
        await asyncio.sleep(_takes_s("chaos.flaky", event))
        share = _luck("flaky", event, ctx.attempt)
        if share < 0.15:
            raise ValueError
        if share < 0.2:
            raise Skip("not this one")


@handler("chaos.thread", **_declared("chaos.thread"))
def thread(event: Event[Raw], ctx: SyncContext) -> None:
    with _attempt("chaos.thread", event, ctx.attempt):
        time.sleep(0.005)
        if _luck("thread", event) < 0.1:
            raise GiveUp("it is one of those")


@handler("chaos.isolated", **_declared("chaos.isolated"))
async def isolated(event: Event[Raw], ctx: Context) -> None:
    with _attempt("chaos.isolated", event, ctx.attempt):
        await asyncio.sleep(_takes_s("chaos.isolated", event))


@handler("chaos.once", backoff=_QUICK, **_declared("chaos.once"))
async def once(event: Event[Raw], ctx: Context) -> None:
    """One step per event, one that events of its entity share, and an attempt that may fail after both."""
    shared = f"shared-{_n(event) // STEP_SPAN}"
    with _attempt("chaos.once", event, ctx.attempt) as result:
        await ctx.once(shared, lambda: _effect(str(event.key), shared), per="entity")
        result.append(await ctx.once("own", lambda: _slow_effect(event.id, "own")))
        if ctx.attempt == 1 and _luck("once", event) < 0.2:
            raise ValueError


@handler("chaos.throttled", backoff=_QUICK, **_declared("chaos.throttled"))
async def throttled(event: Event[Raw], ctx: Context) -> None:
    """Most first attempts fail, so that slots are given back and taken again."""
    with _attempt("chaos.throttled", event, ctx.attempt):
        await asyncio.sleep(10 * _takes_s("chaos.throttled", event))
        share = _luck("throttled", event, ctx.attempt)
        if share < 0.3:
            raise ValueError
        if share < 0.5:
            raise Skip("not this one")


@handler(WIDENED, **_declared(WIDENED))
async def widened(event: Event[Raw], ctx: Context) -> None:
    with _attempt(WIDENED, event, ctx.attempt):
        await asyncio.sleep(_takes_s(WIDENED, event))


@handler(TIMERS, on=[*BOTH, "receiver.timer"], start="oldest", entity_state=dict[str, Any], backoff=_QUICK)
async def timers(event: Event[Raw], ctx: Context[None, None, dict[str, Any]]) -> None:
    """Do what `timers.wish` says, and perhaps fail then: it counts when an attempt comes to a good end."""
    data = event.payload.data
    name = data["name"] if event.kind == "timer" else ""
    if name:
        _write("t", event.id, name, data["setBy"])
    with _attempt(TIMERS, event, ctx.attempt):
        await asyncio.sleep(_takes_s(TIMERS, event))
        ctx.entity_state = folded(ctx.entity_state, event.id)
        asked = wish(event.id, 0 if name else _n(event), name)
        if asked is not None:
            if asked.cancels:
                ctx.cancel_later(asked.cancels)
            ctx.later(asked.name, asked.delay_s)
        share = _luck(TIMERS, event, ctx.attempt)
        if share < 0.15:
            raise ValueError
        if share < 0.2:
            raise Skip("not this one")


def _effect(scope: str, step: str) -> str:
    token = uuid.uuid4().hex
    _write("x", scope, step, token, os.getpid())
    return token


async def _slow_effect(scope: str, step: str) -> str:
    await asyncio.sleep(0.005)
    token = _effect(scope, step)
    await asyncio.sleep(0.005)
    return token
