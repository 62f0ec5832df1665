"""An odd argument of a declaration is refused at load, in one line that names handler, argument and fix."""

from __future__ import annotations

import contextlib
import math
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic_settings import BaseSettings

from handlers import Backoff, Context, Event, HandlerError, Raw, SyncContext, Throttle, handler
from handlers.discovery import discover


async def good(event: Event[Raw], ctx: Context) -> None: ...
async def streams(event: Event[Raw], ctx: Context) -> AsyncIterator[None]:
    yield


def generates(event: Event[Raw], ctx: SyncContext) -> Iterator[None]:
    yield


async def undecorated() -> AsyncIterator[None]:
    yield


@contextlib.asynccontextmanager
async def opened() -> AsyncIterator[None]:
    yield


@contextlib.asynccontextmanager
async def returning() -> AsyncIterator[None]:  # type: ignore[misc]
    return None  # type: ignore[return-value]


@contextlib.contextmanager
def blocking() -> Iterator[None]:
    yield


@contextlib.asynccontextmanager
async def wants_settings(settings: Any) -> AsyncIterator[None]:
    yield


class Mine(BaseSettings, env_prefix="ACME_"):
    pass


class Asked:
    async def __call__(self, event: object) -> bool:
        return True


class Unshowable:
    def __repr__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (
            {"timeout_s": math.inf},
            "timeout_s must be positive, a number of seconds of at most 86,400; it is inf",
        ),
        ({"timeout_s": math.nan}, "timeout_s must be positive"),
        ({"timeout_s": "30"}, "timeout_s .* it is '30'"),
        ({"timeout_s": True}, "timeout_s"),
        ({"timeout_s": 10**400}, "timeout_s"),
        ({"max_attempts": 2.5}, "max_attempts must be positive, a whole number .* it is 2.5"),
        ({"max_attempts": True}, "max_attempts"),
        ({"max_attempts": -1}, "max_attempts"),
        ({"concurrency": "8"}, "concurrency"),
        ({"concurrency": 1e9}, "concurrency"),
        ({"not_yet_for_s": math.inf}, "not_yet_for_s"),
        ({"not_yet_for_s": None}, "not_yet_for_s .* it is None"),
        ({"backoff": Backoff(math.nan, 5)}, "backoff needs"),
        ({"backoff": Backoff(1, math.inf)}, "backoff needs"),
        ({"backoff": Backoff("1", 5)}, "backoff needs"),  # type: ignore[arg-type]
        ({"backoff": Backoff(jitter=None)}, "jitter=True or False"),  # type: ignore[arg-type]
        ({"backoff": lambda attempt: 5}, "must be a Backoff"),
        ({"queue": ""}, "queue is empty"),
        ({"queue": "a\tb"}, r"queue has '\\t' \(U\+0009\) at place 2"),
        ({"queue": None}, "queue must be text, not NoneType"),
        ({"queue": "x" * 500}, "queue has 500 bytes; it may have 100"),
        ({"on": ["x\ty\n"]}, r"on: 'x\\ty\\n' has '\\t' \(U\+0009\) at place 2"),
        ({"on": "cdr.received"}, "on must be a list of notification types"),
        ({"on": [7]}, "on: 7 must be text, not int"),
        ({"on": [""]}, "on: '' is empty"),
        ({"on": ["a|b"]}, "on: .* has '|'"),
        ({"on": ["a,b"]}, r"on: .* has ',' \(U\+002C\) at place 2"),
        ({"on": ["x" * 201]}, "has 201 bytes; it may have 200"),
        ({"on": ["\ud83d"]}, "on: .* has"),
        ({"on": [Unshowable()]}, "of the type Unshowable"),
        ({"calls": "charge-point.reset"}, "calls must be a list of operations"),
        ({"calls": None}, "calls must be a list"),
        ({"calls": [["charge-point.reset"]]}, "calls must be a list"),
        ({"order": ["entity"]}, "order must be one of"),
        ({"order": None}, "order must be one of"),
        ({"isolation": []}, "isolation must be None"),
        ({"strict": 1}, "strict must be True or False"),
        ({"urgent": 1}, "urgent must be True or False"),
        ({"where": Asked()}, "where must be a plain function"),
        ({"where": undecorated}, "where must be a plain function"),
        ({"key": Asked()}, "key must be a plain function"),
        ({"key": undecorated}, "key must be a plain function"),
        ({"key": "evse_id"}, "key must be a plain function"),
        ({"key": lambda event, ctx: "a"}, "key must be a plain function of the event alone"),
        ({"entity_state": "Seen"}, "entity_state must be a type"),
        ({"lifespan": opened()}, "lifespan=pool, not lifespan=pool()"),
        ({"lifespan": returning}, "`yield` once in it"),
        ({"throttle": "1/week"}, "throttle needs a number of at most 1,000 and one of s, m, h, d"),
        ({"throttle": "0/h"}, "throttle needs"),
        ({"throttle": "1001/h"}, "throttle needs"),
        ({"throttle": "1/h\n"}, "throttle needs"),
        ({"throttle": "\u0661/h"}, "throttle needs"),
        ({"throttle": 5}, 'throttle must be a rate as "1/h"'),
        ({"throttle": Throttle("1/h", over="drop")}, "over='skip' or over='wait'"),  # type: ignore[arg-type]
        ({"throttle": Throttle(5)}, "throttle needs"),  # type: ignore[arg-type]
        ({"lifespan": undecorated}, "needs @asynccontextmanager"),
        ({"lifespan": good}, "must be an async context manager"),
        ({"lifespan": blocking}, "not @contextmanager"),
        ({"lifespan": 7}, "lifespan must be a function"),
        ({"lifespan": wants_settings}, "no argument, since settings= is not given"),
        ({"lifespan": lambda: None, "settings": Mine}, "lifespan must take the settings alone"),
        ({"settings": Mine()}, "settings must be a class"),
        ({"settings": dict}, "settings must be a class"),
        ({"function": streams}, "it has a `yield`"),
        ({"function": generates}, "it has a `yield`"),
        ({"function": 7}, "it must be a function"),
        ({"name": 7}, "handler 7: a name is lower case"),
    ],
    ids=lambda value: ascii(value)[:40] if isinstance(value, str) else "",
)
def test_an_odd_argument_is_refused_in_one_line(options: dict[str, Any], says: str):
    name, function = options.pop("name", "a.odd"), options.pop("function", good)
    with pytest.raises(HandlerError, match=says) as caught:
        handler(name, **{"on": ["x"], **options})(function)
    line = str(caught.value)
    assert line.isprintable()
    assert len(line) < 300
    assert str(name) in line


def test_what_is_usual_is_taken():
    @contextlib.asynccontextmanager
    async def plain() -> AsyncIterator[None]:
        yield

    handler(
        "a.b", on=["x.changed", "Größe"], queue="bulk-2", lifespan=plain, timeout_s=1, where=lambda _: True
    )(good)
    handler("a.c", on=["*"], settings=Mine, lifespan=wants_settings, backoff=Backoff(1, 2, jitter=False))(
        good
    )
    handler("a.d", on=("x",), calls=frozenset(["charge-point.reset"]), max_attempts=1)(good)


PLUGINS = {
    "raises.py": "class E(Exception):\n    def __str__(self): raise ValueError\nraise E\n",
    "shouts.py": "raise ValueError('a\\nb' * 1_000_000)\n",
    "proxy.py": (
        "from handlers import Context, Event, Raw, handler\n"
        "class Proxy:\n    @property\n    def __class__(self): raise RuntimeError\n"
        "request = Proxy()\n"
        "@handler('a.proxied', on=['x'])\nasync def h(event: Event[Raw], ctx: Context) -> None: ...\n"
    ),
}


def test_a_plugin_that_raises_oddly_is_one_line_and_the_others_load(tmp_path: Path):
    for name, text in PLUGINS.items():
        (tmp_path / name).write_text(text)
    found = discover(load=[str(tmp_path / name) for name in PLUGINS])
    assert "a.proxied" in {item.handler.name for item in found.found}
    told = {Path(fault.source).name: fault.message for fault in found.faults}
    assert told["raises.py"] == "E: (it cannot be described)"
    assert told["shouts.py"].startswith("ValueError: a b")
    assert len(told["shouts.py"]) < 1_100
