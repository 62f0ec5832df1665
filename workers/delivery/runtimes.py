"""Makes handlers ready to run in a process: opens their settings and lifespans, and gives them clients of AMPECO."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import MappingProxyType

import structlog

from ampeco.client import AsyncClient, Client
from ampeco.shared_budget import SharedBudget
from eventlog.clock import now_ms
from eventlog.handler_faults import Fault
from handlers.declaration import HandlerError
from handlers.discovery import Found
from workers.config import WorkerConfig
from workers.delivery.attempt import Runtime
from workers.delivery.opening import Opening, settings_fault

_TOKEN_LOOK_S = 2.0

_log = structlog.get_logger()


class Runtimes:
    """The handlers of one process, by name, as soon as they are ready to run.

    Args:
        threads: at most so many `def` handlers run at once.
        budget: of all calls to AMPECO; None for none.
        again: whether a lifespan that failed is opened again.

    Attributes:
        by_name: the runtimes of handlers that are ready.
        elsewhere: faults of handlers that other processes run, and of plugins; the caller may add some.
        news: faults that are new, for the caller to announce.
    """

    def __init__(
        self, config: WorkerConfig, *, threads: int, budget: SharedBudget | None = None, again: bool = True
    ) -> None:
        self.by_name: dict[str, Runtime] = {}
        self.elsewhere: list[Fault] = []
        self.news: asyncio.Queue[Fault] = asyncio.Queue()
        self.budget = budget
        self._config = config
        self._again = again
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="handler")
        self._token: str | None = None
        self._token_before: str | None = None
        self._tracing = None if config.tracing is None else config.tracing()
        self._clients: tuple[AsyncClient, Client] | None = None
        self._openings: list[Opening] = []
        self._ready: asyncio.Queue[Runtime] = asyncio.Queue()
        self._exits = contextlib.AsyncExitStack()

    async def open(
        self,
        found: Sequence[Found],
        *,
        strict: bool,
        within_s: float | None = None,
        known: Mapping[str, Fault] = MappingProxyType({}),
    ) -> None:
        """Open all handlers at once, and keep those that are ready in time. `next_ready` returns the others later.

        Args:
            strict: refuse a handler that cannot be made ready at the first try.
            within_s: how long to wait for slow ones; None: until each was tried once.
            known: faults of an earlier process, by handler, which are not new.

        Raises:
            HandlerError: one cannot be made ready, if `strict`.
        """
        again, note = self._again and not strict, _ignore if strict else self._note
        self._openings = [
            Opening(item, self._ready.put_nowait, note, again=again, before=known.get(item.handler.name))
            for item in found
        ]
        tried = [asyncio.create_task(opening.tried.wait()) for opening in self._openings]
        try:
            if tried:
                await asyncio.wait(tried, timeout=None if strict else within_s)
        finally:
            for task in tried:
                task.cancel()
        if strict and (faults := self.faults()):
            raise HandlerError(f"handler {faults[0].name!r}: {faults[0].text}")
        while not self._ready.empty():
            self._take_up(self._ready.get_nowait())
        self.take_up_token()

    async def next_ready(self) -> Runtime:
        """Wait until a further handler is ready, and return its runtime."""
        runtime = await self._ready.get()
        self._take_up(runtime)
        return runtime

    def configured(self, found: Sequence[Found], *, strict: bool) -> list[Found]:
        """Check handlers that another process runs; return those that have all their settings.

        Raises:
            HandlerError: settings are missing, if `strict`.
        """
        complete = []
        for item in found:
            if (fault := settings_fault(item)) is None:
                complete.append(item)
            elif strict:
                raise HandlerError(f"handler {fault.name!r}: {fault.text}")
            else:
                self._note(fault)
                self.elsewhere.append(fault)
        return complete

    def has_settings(self, item: Found) -> bool:
        """Return whether this handler has all its settings, as far as is known."""
        return not any(fault.is_of_settings and fault.name == item.handler.name for fault in self.faults())

    def faults(self) -> list[Fault]:
        """Return the faults of handlers that cannot run in this process now."""
        return [*self.elsewhere, *(each.fault for each in self._openings if each.fault is not None)]

    async def follow_token(self) -> None:
        """Check every few seconds for another token."""
        while True:
            await asyncio.sleep(_TOKEN_LOOK_S)
            self.take_up_token()

    def take_up_token(self) -> None:
        """Give handlers clients with the current token; calls under way finish with the old one."""
        token, before = self._config.api_token(), self._token_before
        self._token_before = token
        if token == self._token or token is None or self._config.tenant_url is None:
            return
        if self._token is not None:
            if token != before:
                return  # its file may be half written
            _log.info("api_token.changed")
        self._token = token
        client = AsyncClient(self._config.tenant_url, token, budget=self.budget)
        sync_client = Client(self._config.tenant_url, token, budget=self.budget)
        self._exits.push_async_callback(client.aclose)
        self._exits.callback(sync_client.close)
        self._clients = client, sync_client
        for runtime in self.by_name.values():
            self._give_clients(runtime)

    async def close(self) -> None:
        """Leave the lifespans, then close the clients."""
        await asyncio.gather(*(opening.close() for opening in self._openings))
        await self._exits.aclose()
        if self._tracing is not None:
            await asyncio.to_thread(self._tracing.close)
        if self.budget is not None:
            await self.budget.aclose()
        self._threads.shutdown(wait=False)

    def _note(self, fault: Fault) -> None:
        log_fault(fault)
        self.news.put_nowait(fault)

    def _take_up(self, runtime: Runtime) -> None:
        runtime.threads = self._threads
        runtime.tracing = self._tracing
        self._give_clients(runtime)
        self.by_name[runtime.handler.name] = runtime

    def _give_clients(self, runtime: Runtime) -> None:
        if self._clients is None:
            return
        runtime.client, runtime.sync_client = client, sync_client = self._clients
        urgent = None if self.budget is None else self.budget.urgent
        if runtime.handler.urgent and urgent is not None:
            runtime.client = client.gated(None, budget=urgent)
            runtime.sync_client = sync_client.gated(None, budget=urgent)


def log_fault(fault: Fault) -> None:
    """Log a fault of a handler that this process cannot run."""
    said = f"{fault.error} at {fault.where}" if fault.where else fault.error
    next_try_s = None if fault.next_ms is None else round(max(0, fault.next_ms - now_ms()) / 1000, 1)
    _log.error("handler.faulty", source=fault.name, reason=fault.reason, error=said, next_try_s=next_try_s)


def _ignore(fault: Fault) -> None:
    """Log nothing: the start is refused with one line."""
