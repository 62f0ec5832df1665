"""A handler that raises or returns odd things ends its own event alone: neighbours begin once, their steps too."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from ampeco.errors import RateLimited
from eventlog.log import EventLog
from eventlog.operation.dead_letters import DeadEntry, DeadFilter, matching
from handlers import Backoff, Context, Event, GiveUp, Handler, Raw, Retry, Skip, SyncContext, handler
from tests.harness import declaration, drained, event, position
from workers.once.step import DeliveryRevoked


class Wild(Exception):
    pass


def raising(*_: Any, **__: Any) -> Any:
    raise Wild


def odd(base: type[BaseException], **body: Any) -> Callable[[], Any]:
    """An exception that forgets its base's __init__."""
    made = type("Odd", (base,), {"__init__": lambda self, *_: None, **body})
    return lambda: made("x")


def with_values(make: Callable[[], Any], **values: Any) -> Callable[[], Any]:
    def made() -> Any:
        error = make()
        for name, value in values.items():
            setattr(error, name, value)
        return error

    return made


def grouped(*makes: Callable[[], Any]) -> Callable[[], Any]:
    return lambda: BaseExceptionGroup("g", [make() for make in makes])


LOUD = type("Loud", (), dict.fromkeys(("__str__", "__repr__", "__eq__", "__bool__", "__format__"), raising))
RAISED: dict[str, tuple[Callable[[], Any], str]] = {
    "give-up-without-super": (odd(GiveUp), "gave-up"),
    "skip-without-super": (odd(Skip), "skipped"),
    "retry-without-super": (odd(Retry), "attempts-exhausted"),
    "slug-none": (odd(GiveUp, slug=None), "gave-up"),
    "slug-object": (odd(GiveUp, slug=LOUD()), "gave-up"),
    "slug-half": (odd(GiveUp, slug="\ud83d"), "gave-up"),
    "slug-raises": (odd(GiveUp, slug=property(raising)), "gave-up"),
    "bytes": (with_values(lambda: Skip("x"), reason=b"\xff driver"), "skipped"),
    "huge": (lambda: GiveUp("x" * 2_000_000), "gave-up"),
    "half-a-character": (lambda: GiveUp(json.loads('"no such driver \\ud83d"')), "gave-up"),
    "object": (with_values(lambda: GiveUp("x"), reason=LOUD()), "gave-up"),
    "reason-raises": (odd(GiveUp, reason=property(raising)), "gave-up"),
    "reason-exits": (odd(Skip, reason=property(lambda self: exec("raise SystemExit"))), "skipped"),  # noqa: S102
    "class-lies": (odd(ValueError, __class__=property(raising)), "attempts-exhausted"),
    "cause-raises": (odd(ValueError, __cause__=property(raising), __traceback__=None), "attempts-exhausted"),
    "cause-is-itself": (with_values(ValueError, __context__=ValueError()), "attempts-exhausted"),
    "unequal": (odd(OSError, __eq__=raising, __hash__=raising, __bool__=raising), "attempts-exhausted"),
    "unprintable": (odd(ValueError, __str__=raising, __repr__=raising), "attempts-exhausted"),
    "attributes-raise": (odd(GiveUp, __getattribute__=raising), "gave-up"),
    "counts-odd": (with_values(lambda: Retry("x"), counts=LOUD()), "attempts-exhausted"),
    "group": (grouped(lambda: GiveUp("no such card"), ValueError), "gave-up"),
    "group-of-skips": (grouped(lambda: Skip("x"), lambda: Skip("y")), "skipped"),
    "group-of-odd": (grouped(odd(GiveUp, reason=property(raising))), "gave-up"),
    "system-exit": (SystemExit, "attempts-exhausted"),
    "interrupt": (KeyboardInterrupt, "attempts-exhausted"),
    "generator-exit": (GeneratorExit, "attempts-exhausted"),
    "stop-async": (StopAsyncIteration, "attempts-exhausted"),
    "stop": (StopIteration, "attempts-exhausted"),
    "cancelled": (asyncio.CancelledError, "attempts-exhausted"),
    "cancelled-odd": (odd(asyncio.CancelledError), "attempts-exhausted"),
    "base": (odd(BaseException), "attempts-exhausted"),
    "another's-lease": (DeliveryRevoked, "attempts-exhausted"),
    "memory": (odd(MemoryError), "attempts-exhausted"),
}
RETURNED: dict[str, tuple[Callable[[], Any], str]] = {
    "value": (lambda: {"status": "ok"}, "done"),
    "loud": (LOUD, "done"),
    "skip": (lambda: Skip("x"), "skipped"),
    "dead": (lambda: GiveUp("x"), "gave-up"),
    "error": (ValueError, "attempts-exhausted"),
    "coroutine": (lambda: asyncio.sleep(0), "never-awaited"),
}
ENDINGS = {
    **{f"raises {k}": v for k, v in RAISED.items()},
    **{f"returns {k}": v for k, v in RETURNED.items()},
}


def _name(found: DeadEntry) -> str:
    return str(found.letter.record.event.key).partition(":")[2]


class Trial:
    """A handler that ends each odd event in its own way, and pays once for each innocent one."""

    def __init__(self, *, is_async: bool) -> None:
        self.began: Counter[str] = Counter()
        self.paid: Counter[str] = Counter()
        options: dict[str, Any] = {"on": ["*"], "max_attempts": 1, "start": "oldest"}

        def act(name: str) -> Any:
            self.began[name] += 1
            make, _ = ENDINGS[name]
            if name.startswith("raises"):
                raise make()
            return make()

        def pay(name: str) -> str:
            self.paid[name] += 1
            return name

        async def in_loop(event: Event[Raw], ctx: Context) -> Any:
            name = event.payload.data["name"]
            if name in ENDINGS:
                return act(name)
            self.began[name] += 1
            await ctx.once("pay", lambda: pay(name))
            return await asyncio.sleep(0.01)

        def in_thread(event: Event[Raw], ctx: SyncContext) -> Any:
            name = event.payload.data["name"]
            if name in ENDINGS:
                return act(name)
            self.began[name] += 1
            return ctx.once("pay", lambda: pay(name))

        self.handler: Handler = handler("h", **options)(in_loop if is_async else in_thread)


@pytest.mark.parametrize("is_async", [True, False], ids=["async", "def"])
def test_an_odd_ending_is_the_end_of_one_event(with_lane, is_async):
    trial = Trial(is_async=is_async)

    async def check(log: EventLog) -> None:
        await log.declare([declaration(trial.handler)])
        innocent = [f"innocent {n}" for n in range(len(ENDINGS))]
        names = [name for pair in zip(ENDINGS, innocent, strict=True) for name in pair]
        await log.append([event("t", f"session:{name}", name=name) for name in names])
        await drained(log, trial.handler)
        assert trial.began == Counter(names), "each began once"
        assert trial.paid == Counter(innocent)
        letters = {_name(e): e for e in await matching(log, DeadFilter())}
        for name, (_, reason) in ENDINGS.items():
            if reason in ("skipped", "done"):
                assert name not in letters
            else:
                assert letters[name].letter.reason == reason, name
                assert 0 < len(letters[name].letter.record.last_error) <= 1_010
        found = await position(log, "h")
        wanted = Counter(
            reason if reason in ("skipped", "done") else "dead" for _, reason in ENDINGS.values()
        )
        assert {name: found.stats.get(name, 0) for name in wanted} == wanted + Counter(done=len(innocent))
        assert (found.open, found.waiting) == (0, 0)

    with_lane(check)


def test_a_filter_may_raise_and_answer_oddly(with_lane):
    ran: list[str] = []
    answers: dict[str, Any] = {
        "yes": 1, "no": [], "loud": LOUD(), "late": None, "raises": odd(Skip), "exits": SystemExit,
    }  # fmt: skip

    def wanted(event: Event[Raw]) -> Any:
        name = event.payload.data["name"]
        if name in ("raises", "exits"):
            raise answers[name]()
        return asyncio.sleep(0) if name == "late" else answers[name]

    @handler("h", on=["*"], where=wanted, max_attempts=1)
    async def h(event: Event[Raw], ctx: Context) -> None:
        ran.append(event.payload.data["name"])

    async def check(log: EventLog) -> None:
        await log.declare([declaration(h)])
        await log.append([event("t", f"session:{name}", name=name) for name in answers])
        await drained(log, h)
        assert ran == ["yes"]
        letters = await matching(log, DeadFilter())
        assert {_name(e): e.letter.record.last_error for e in letters} == {
            "loud": "Wild",
            "late": "TypeError",
            "exits": "SystemExit",
        }
        assert (await position(log, "h")).stats["skipped"] == 2

    with_lane(check)


def test_a_step_with_odd_options_or_results_is_certain(with_lane):
    called: Counter[str] = Counter()
    cases: dict[str, tuple[dict[str, Any], Any, str]] = {
        "per": ({"per": "session"}, 1, "step-options"),
        "uncertain": ({"on_uncertain": "ignore"}, 1, "step-options"),
        "called": ({"call": 1}, 1, "step-options"),
        "returns": ({"returns": object()}, 1, "step-result"),
        "name": ({"step": b"pay"}, 1, "step-name"),
        "half": ({"step": "pay \ud83d"}, 1, "step-name"),
        "result": ({}, type("Odd", (dict,), {"items": raising, "__iter__": raising})(a=1), "step-result"),
        "loud": ({}, {"x": LOUD()}, "step-result"),
    }

    @handler("h", on=["*"], max_attempts=1)
    async def h(event: Event[Raw], ctx: Context) -> None:
        name = event.payload.data["name"]
        how, result, _ = cases[name]

        def call() -> Any:
            called[name] += 1
            return result

        await ctx.once(**{"step": "pay", "call": call, **how})

    async def check(log: EventLog) -> None:
        await log.declare([declaration(h)])
        await log.append([event("t", f"session:{name}", name=name) for name in cases])
        await drained(log, h)
        letters = await matching(log, DeadFilter())
        told = {_name(e): e.letter.reason for e in letters}
        assert told == {name: reason for name, (_, _, reason) in cases.items()}
        assert called == Counter(result=1, loud=1)

    with_lane(check)


def test_an_async_call_in_a_plain_handler_is_refused_and_not_recorded(with_lane):
    async def call() -> int:
        raise AssertionError

    @handler("h", on=["*"], max_attempts=1)
    def h(event: Event[Raw], ctx: SyncContext) -> None:
        ctx.once("pay", call)

    async def check(log: EventLog) -> None:
        await log.declare([declaration(h)])
        await log.append([event("t")])
        await drained(log, h)
        (entry,) = await matching(log, DeadFilter())
        assert entry.letter.reason == "step-result"
        assert not [key async for key in log.redis.scan_iter(log.key("ledger", "*"))]

    with_lane(check)


class ForgotSuper(RateLimited):
    def __init__(self) -> None:
        pass


@pytest.mark.parametrize(
    ("error", "ends"),
    [(ForgotSuper, False), (odd(Retry), False), (odd(Skip, __class__=property(raising)), True)],
    ids=["limited", "retry", "skip"],
)
def test_a_step_whose_call_ends_oddly_says_that_nothing_happened(with_lane, error, ends):
    calls: list[int] = []

    @handler("h", on=["*"], max_attempts=2, backoff=Backoff(0.01, 0.01, jitter=False))
    async def h(event: Event[Raw], ctx: Context) -> None:
        def call() -> int:
            calls.append(1)
            if len(calls) == 1:
                raise error()
            return 7

        assert await ctx.once("pay", call) == 7

    async def check(log: EventLog) -> None:
        await log.declare([declaration(h)])
        await log.append([event("t")])
        await drained(log, h, until=lambda: len(calls) == (1 if ends else 2))
        assert not await matching(log, DeadFilter())

    with_lane(check)
