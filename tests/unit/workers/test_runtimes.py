"""Handlers that cannot be made ready are left out and named; the others run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from structlog.testing import capture_logs

from handlers import Context, Event, Handler, Raw, handler
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
    monkeypatch.setattr("workers.delivery.runtimes.LIFESPAN_S", 0.05)
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
