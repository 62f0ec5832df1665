"""What the checks share: the settings, one connection to Redis, one client of AMPECO. Each fact is read once.

A fact that could not be read stays so: the checks that need it say why at once, instead of waiting again.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar
from urllib.parse import urlsplit

from redis.exceptions import ResponseError

from commands.doctor.finding import NotChecked

if TYPE_CHECKING:
    import httpx2

    from ampeco.client import AsyncClient
    from ampeco.models.notification_subscription import NotificationSubscription
    from eventlog.inspection.server_facts import ServerFacts
    from eventlog.log import EventLog
    from eventlog.presence import Process
    from eventlog.registry import HandlerPosition
    from receiver.errors import SettingsError
    from receiver.settings import Settings

_T = TypeVar("_T")
_CALL_S = 5.0  # for one call over HTTP, shorter than a check


@dataclass(frozen=True)
class FrontPage:
    """The tenant's answer to a request without a token.

    Attributes:
        date: the text of its Date header; empty without one.
        at_s: our Unix time in the middle of the call.
    """

    status: int
    date: str
    at_s: float


class Fact(Generic[_T]):
    """Reads one fact once, for all checks that ask for it."""

    def __init__(self, read: Callable[[], Awaitable[_T]]) -> None:
        self._read = read
        self._reading: asyncio.Future[_T] | None = None

    async def __call__(self) -> _T:
        """Return the fact. A cancelled call does not stop the reading."""
        if self._reading is None:
            self._reading = asyncio.ensure_future(self._read())
            self._reading.add_done_callback(_seen)
        return await asyncio.shield(self._reading)

    async def end(self) -> None:
        """Stop reading."""
        if self._reading is not None and not self._reading.done():
            self._reading.cancel()
            await asyncio.wait([self._reading])


def http_client(url: str) -> httpx2.AsyncClient:
    """Return a client without a token, for one request to a URL of the settings."""
    import httpx2

    from ampeco import base_url

    is_here = base_url.is_loopback(urlsplit(url).hostname or "")
    trusted = httpx2.create_ssl_context()  # also with a CA of the environment's
    return httpx2.AsyncClient(timeout=_CALL_S, trust_env=not is_here, verify=trusted)


def _seen(done: asyncio.Future[_T]) -> None:
    """Mark an error as seen, so that none is logged when nothing asks for it again."""
    if not done.cancelled():
        done.exception()


class Deployment:
    """One deployment as its settings describe it.

    Attributes:
        settings: without those that are refused.
        refused: the faults of the settings.
        environ: where proxies and the like are looked up.
    """

    def __init__(
        self, settings: Settings, refused: tuple[SettingsError, ...], environ: Mapping[str, str]
    ) -> None:
        self.settings = settings
        self.refused = refused
        self.environ = environ
        self.log = Fact(self._log)
        self.server = Fact(self._server)
        self.handlers = Fact(self._handlers)
        self.processes = Fact(self._processes)
        self.front_page = Fact(self._front_page)
        self.subscriptions = Fact(self._subscriptions)
        self._opened: EventLog | None = None
        self._client: AsyncClient | None = None

    def needed(self, name: str) -> str:
        """Return the text of a setting that a check cannot do without.

        Raises:
            NotChecked: it is not set, or refused.
        """
        from receiver.settings import FIELDS

        value = getattr(self.settings, FIELDS[name])
        if value is None:
            is_refused = any(error.setting == name for error in self.refused)
            raise NotChecked(f"{name} is {'refused' if is_refused else 'not set'}")
        return str(value.get_secret_value() if hasattr(value, "get_secret_value") else value)

    def client(self) -> AsyncClient:
        """Return a client of AMPECO that repeats nothing.

        Raises:
            NotChecked: tenant or token is not set, or refused.
        """
        from ampeco.client import AsyncClient
        from ampeco.repeating import RetryPolicy

        if self._client is None:
            tenant, token = self.needed("AWR_TENANT_URL"), self.needed("AWR_API_TOKEN")
            self._client = AsyncClient(
                tenant, token, timeout_s=_CALL_S, answer_s=_CALL_S, retry=RetryPolicy(attempts=1)
            )
        return self._client

    async def close(self) -> None:
        """Close all connections."""
        for each in (
            self.subscriptions,
            self.front_page,
            self.processes,
            self.handlers,
            self.server,
            self.log,
        ):
            await each.end()
        if self._client is not None:
            await self._client.aclose()
        if self._opened is not None:
            with contextlib.suppress(Exception):
                await self._opened.redis.aclose()

    async def _log(self) -> EventLog:
        """Open the log, with the number of lanes it was made with."""
        from commands import store_url
        from eventlog.connection.connect import connect
        from eventlog.log import EventLog
        from eventlog.ownership import lanes_kept

        if any(error.setting == "AWR_REDIS_URL" for error in self.refused):
            raise NotChecked("AWR_REDIS_URL is refused")
        settings = self.settings
        url = await asyncio.to_thread(store_url, settings)
        redis = connect(url)
        log = self._opened = EventLog(
            redis, prefix=settings.key_prefix, lanes=settings.lanes, may_evict=settings.may_evict
        )
        await redis.ping()
        with contextlib.suppress(
            ResponseError, ValueError
        ):  # forbidden, or garbage: there are checks for that
            log.lanes = await lanes_kept(log) or settings.lanes
        return log

    async def _server(self) -> ServerFacts:
        from eventlog.inspection.server_facts import server_facts

        return await server_facts(await self.log())

    async def _handlers(self) -> list[HandlerPosition]:
        return await (await self.log()).handlers()

    async def _processes(self) -> list[Process]:
        from eventlog.presence import present

        return await present(await self.log())

    async def _subscriptions(self) -> list[NotificationSubscription]:
        from receiver.notification_api import NotificationApi

        return await NotificationApi({"AWR_API_TOKEN": self.client()}).list()

    async def _front_page(self) -> FrontPage:
        url = self.needed("AWR_TENANT_URL")
        async with http_client(url) as http:
            before_s = time.time()
            answer = await http.head(url)
            return FrontPage(answer.status_code, answer.headers.get("date", ""), (before_s + time.time()) / 2)
