"""Handlers that cannot be made ready are left out and named; the others run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import capture_logs

from handlers import Context, Event, Handler, HandlerError, Raw, handler
from handlers.discovery import Found
from workers.config import WorkerConfig
from workers.delivery.runtimes import Runtimes

CONFIG = WorkerConfig(
    "redis://nowhere", "t:", 1, "default", tenant_url=None, api_token=lambda: None, rules_version="1"
)


def a_handler(name: str, lifespan: Any = None) -> Handler:
    @handler(name, on=["*"], **({} if lifespan is None else {"lifespan": lifespan}))
    async def h(event: Event[Raw], ctx: Context) -> None:
        pass

    return h


@asynccontextmanager
async def hangs() -> AsyncIterator[None]:
    await asyncio.Event().wait()
    yield


@asynccontextmanager
async def fails() -> AsyncIterator[None]:
    raise ValueError("a password")
    yield


@asynccontextmanager
async def gives_up_itself() -> AsyncIterator[None]:
    raise TimeoutError
    yield


@pytest.mark.parametrize(
    ("lifespan", "says"),
    [
        (hangs, "its lifespan did not begin within 0.05 s"),
        (fails, "in fails"),
        (gives_up_itself, "in gives_up_itself"),
    ],
)
def test_a_lifespan_that_fails_or_hangs_costs_its_handler_alone(monkeypatch, lifespan, says):
    monkeypatch.setattr("workers.delivery.opening.LIFESPAN_S", 0.05)
    items = [Found(a_handler("bad", lifespan), "s", "1"), Found(a_handler("good"), "s", "1")]

    async def open_all() -> set[str]:
        runtimes = Runtimes(CONFIG, threads=1)
        await runtimes.open(items, strict=False)
        names = set(runtimes.by_name)
        await runtimes.close()
        return names

    with capture_logs() as logs:
        assert asyncio.run(open_all()) == {"good"}
    [line] = [entry for entry in logs if entry["event"] == "handler.faulty"]
    assert line["source"] == "bad"
    assert says in line["error"]
    assert "password" not in line["error"]


def test_a_lifespan_that_hangs_holds_up_no_other_one(monkeypatch):
    monkeypatch.setattr("workers.delivery.opening._CANCEL_S", 0.01)
    began = asyncio.Event()

    @asynccontextmanager
    async def waits_for_another() -> AsyncIterator[str]:
        await began.wait()
        yield "late"

    @asynccontextmanager
    async def begins_later() -> AsyncIterator[None]:
        began.set()
        yield

    hung, waits, later = (
        Found(a_handler(name, made), "s", "1")
        for name, made in (("hung", hangs), ("waits", waits_for_another), ("later", begins_later))
    )

    async def open_all() -> None:
        runtimes = Runtimes(CONFIG, threads=1)
        await runtimes.open([hung, waits, later], strict=False, within_s=1.0)
        assert set(runtimes.by_name) == {"waits", "later"}
        assert runtimes.by_name["waits"].state == "late"
        assert runtimes.faults() == []  # it has its time
        await runtimes.close()

    asyncio.run(open_all())


def test_a_strict_start_is_refused_with_the_fault_and_without_a_line():
    async def open_all() -> None:
        runtimes = Runtimes(CONFIG, threads=1)
        try:
            await runtimes.open([Found(a_handler("bad", fails), "s", "1")], strict=True)
        finally:
            await runtimes.close()

    with (
        capture_logs() as logs,
        pytest.raises(HandlerError, match=r"'bad': lifespan-failed: ValueError at .*fails"),
    ):
        asyncio.run(open_all())
    assert logs == []


def test_half_a_token_is_never_used():
    given = ["one", "one", "", "tw", "two", "two", "two"]

    async def open_all() -> list[int]:
        config = replace(CONFIG, tenant_url="https://t.example", api_token=lambda: given.pop(0) or None)
        runtimes = Runtimes(config, threads=1)
        await runtimes.open([], strict=False)
        changes = []
        while given:
            with capture_logs() as lines:
                runtimes.take_up_token()
            changes.append([line["event"] for line in lines].count("api_token.changed"))
        await runtimes.close()
        return changes

    assert asyncio.run(open_all()) == [0, 0, 0, 0, 1, 0]
