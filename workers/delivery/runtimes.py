"""Handlers made ready to run in a process: their settings, their lifespans, and the clients they call AMPECO with."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import structlog
from pydantic import ValidationError
from pydantic_settings import BaseSettings

from ampeco.client import AsyncClient, Client
from ampeco.shared_budget import SharedBudget
from handlers.declaration import HandlerError
from handlers.discovery import Found, missing_settings
from workers.config import WorkerConfig
from workers.delivery.attempt import Runtime
from workers.delivery.said import where

LIFESPAN_S = 30.0  # for the lifespan of one handler to begin

_TOKEN_LOOK_S = 2.0

_log = structlog.get_logger()


class LifespanHangs(Exception):
    """A lifespan that does not begin."""


class Runtimes:
    """The handlers of one process that are ready to run, by name.

    Args:
        threads: at most so many `def` handlers run at once.
        budget: of all calls to AMPECO; None for none.
    """

    def __init__(self, config: WorkerConfig, *, threads: int, budget: SharedBudget | None = None) -> None:
        self.by_name: dict[str, Runtime] = {}
        self._config = config
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="handler")
        self._token: str | None = None
        self.budget = budget
        self._tracing = None if config.tracing is None else config.tracing()
        self._exits = contextlib.AsyncExitStack()

    async def open(self, found: Sequence[Found], *, strict: bool) -> None:
        """Make them ready. Log and leave out those that cannot be; if `strict`, raise HandlerError instead."""
        for item in found:
            with _faults_told(item, strict=strict):
                runtime = await without_clients(item, self._exits)
                runtime.threads = self._threads
                runtime.tracing = self._tracing
                self.by_name[item.handler.name] = runtime
        self.take_up_token()

    async def follow_token(self) -> None:
        """Look for another token now and then."""
        while True:
            await asyncio.sleep(_TOKEN_LOOK_S)
            self.take_up_token()

    def take_up_token(self) -> None:
        """Handlers call AMPECO with the token that holds now; calls under way finish with the old one."""
        token = self._config.api_token()
        if token == self._token or token is None or self._config.tenant_url is None:
            return
        if self._token is not None:
            _log.info("api_token.changed")
        self._token = token
        client = AsyncClient(self._config.tenant_url, token, budget=self.budget)
        sync_client = Client(self._config.tenant_url, token, budget=self.budget)
        self._exits.push_async_callback(client.aclose)
        self._exits.callback(sync_client.close)
        urgent = None if self.budget is None else self.budget.urgent
        for runtime in self.by_name.values():
            runtime.client, runtime.sync_client = client, sync_client
            if runtime.handler.urgent and urgent is not None:
                runtime.client = client.gated(None, budget=urgent)
                runtime.sync_client = sync_client.gated(None, budget=urgent)

    async def close(self) -> None:
        """Leave the lifespans, last one first."""
        await self._exits.aclose()
        if self._tracing is not None:
            await asyncio.to_thread(self._tracing.close)
        if self.budget is not None:
            await self.budget.aclose()
        self._threads.shutdown(wait=False)


async def without_clients(item: Found, exits: contextlib.AsyncExitStack) -> Runtime:
    """A handler with its settings and, until `exits` end, with its lifespan."""
    handler, settings, state = item.handler, _settings(item), None
    if handler.lifespan is not None:
        arguments = () if handler.settings is None else (settings,)
        own = await exits.enter_async_context(_end_quietly(handler.name))
        try:
            async with asyncio.timeout(LIFESPAN_S) as limit:
                state = await own.enter_async_context(handler.lifespan(*arguments))
        except TimeoutError as error:
            if not limit.expired():
                raise  # one of its own
            raise LifespanHangs(f"its lifespan did not begin within {LIFESPAN_S:g} s") from error
    return Runtime(handler, item.version, settings, state)


def configured(found: Sequence[Found], *, strict: bool) -> list[Found]:
    """Return those that have all their settings, of handlers that another process runs. `strict` as for `open`."""
    complete = []
    for item in found:
        with _faults_told(item, strict=strict):
            _settings(item)
            complete.append(item)
    return complete


def _settings(item: Found) -> BaseSettings | None:
    return None if item.handler.settings is None else item.handler.settings()


@contextlib.asynccontextmanager
async def _end_quietly(name: str) -> AsyncIterator[contextlib.AsyncExitStack]:
    """What is entered here may raise at its end, and the others are closed all the same."""
    own = contextlib.AsyncExitStack()
    try:
        yield own
    finally:
        try:
            await own.aclose()
        except BaseException as error:
            if _is_cancelled():
                raise
            _log.error(
                "handler.faulty", source=name, error=f"{type(error).__name__} at the end of its lifespan"
            )


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


@contextlib.contextmanager
def _faults_told(item: Found, *, strict: bool) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        if isinstance(error, asyncio.CancelledError) and _is_cancelled():
            raise
        told = _told(error)
        if strict:
            raise HandlerError(f"handler {item.handler.name!r}: {told}") from error
        _log.error("handler.faulty", source=item.handler.name, error=told)


def _told(error: BaseException) -> str:
    """Say what is wrong, without values: the settings that are missing, or the class of the error and its line."""
    if isinstance(error, ValidationError):
        return missing_settings(error)
    if isinstance(error, LifespanHangs):
        return str(error)
    name, *lines = where(error).splitlines()
    return f"{name} at {lines[-1]}" if lines else name
