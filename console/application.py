"""The application of the console: its routes, and the headers of every answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from types import ModuleType
from typing import Final

import structlog
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ampeco.host_names import is_among
from console import markup
from console.bodies import BodyReader
from console.live import Live
from console.page import Console, Page, guarded
from console.pages import (
    audit,
    dead,
    dead_acts,
    entity,
    event,
    events,
    guide,
    handler_acts,
    handler_replay,
    handlers,
    line,
    overview,
    progress,
    quarantine,
    search,
    session,
    shapes,
)
from console.resends import Resends
from console.running import Running
from console.sessions import Right, Sessions, Throttle
from console.wording import Wording
from eventlog.inspection.last_events import newest_at_ms
from eventlog.log import EventLog

# Each has ROUTES: path, method and endpoint. One with NAV is in the navigation, in this order. One that works without
# Redis says READS_LOG = False.
PAGES: Final[tuple[ModuleType, ...]] = (
    overview,
    events,
    event,
    entity,
    handlers,
    handler_acts,
    handler_replay,
    dead_acts,  # before `dead`, whose pages of letters have any name
    dead,
    quarantine,
    line,
    shapes,
    progress,
    audit,
    search,
    session,
    guide,
)
MOUNTED_AT: Final = "/console"

_REFUSALS = (10, 30)  # refused acts that are written down per minute, of one address and of all
_HOST_LINES = (1, 10)  # lines of the log per minute about one unknown host, and about all
_UNKNOWN_HOST = (
    "unknown-host: this console does not answer to this name. Use localhost or an IP address, or add the name to "
    "AWR_CONSOLE_HOSTS.\n"
)

_log = structlog.get_logger()

# No inline script or style, nothing from elsewhere, no other site around it.
_HEADERS: Final = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",  # with `no-referrer`, a browser would send our own forms with the origin `null`
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


def application(
    log: EventLog,
    *,
    wording: Wording,
    tokens: Callable[[], Mapping[Right, str]],
    stop: asyncio.Event,
    hosts: Collection[str] = (),
    bodies: BodyReader | None = None,
    resends: Resends | None = None,
) -> ASGIApp:
    """Build the application, to be mounted at `MOUNTED_AT`. It opens nothing.

    Args:
        log: a log of its own; its number of lanes is corrected when the log is read.
        tokens: returns the token of each right that may be had; without one the console is read only.
        stop: set when the process stops; it ends the streams of open pages.
        hosts: names under which it may be opened, in addition to localhost and IP addresses; in lower case.
        bodies: reads quarantined bodies; None where nothing can.
        resends: how to ask AMPECO for a resend; None where the process has no token for it.
    """
    console = Console(
        log,
        wording,
        Sessions(tokens),
        markup.environment(span=wording.span),
        Live(lambda: newest_at_ms(log), stop),
        tuple(nav for module in PAGES if (nav := getattr(module, "NAV", None)) is not None),
        Throttle(),
        Throttle(*_REFUSALS),
        Running(),
        bodies,
        resends,
    )
    routes = [
        Route(
            path,
            guarded(console, endpoint, reads_log=getattr(module, "READS_LOG", True)),
            methods=[method],
        )
        for module in PAGES
        for path, method, endpoint in module.ROUTES
    ]

    async def missing(request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        text = "There is no such page." if status == 404 else "This cannot be asked for in this way."
        return Page(console, request).show("problem.html", status, reason=f"http-{status}", text=text)

    async def live(request: Request) -> Response:
        if console.live.is_full:
            return Response("too many pages follow the log", 503, media_type="text/plain")
        if request.method == "HEAD":
            return Response(media_type=_Following.media_type)
        return _Following(console.live)

    pages = Starlette(
        routes=[*routes, Route("/live", live), Route("/assets/{digest}/{name}", _asset)],
        exception_handlers={HTTPException: missing},
    )
    return _Secured(pages, hosts)


def alone(console: ASGIApp) -> Starlette:
    """Return an application that has nothing but the console."""

    async def go_in(_: Request) -> Response:
        return RedirectResponse(f"{MOUNTED_AT}/", 307)

    return Starlette(routes=[Route("/", go_in), Mount(MOUNTED_AT, console)])


async def _asset(request: Request) -> Response:
    name = str(request.path_params["name"])
    try:
        content, kind = markup.asset(name)
        wanted = markup.asset_name(name)
    except (KeyError, OSError):
        raise HTTPException(404) from None
    if wanted != f"{request.path_params['digest']}/{name}":
        raise HTTPException(404)
    return Response(
        content, media_type=kind, headers={"cache-control": "public, max-age=31536000, immutable"}
    )


class _Following(StreamingResponse):
    """The stream of a page that follows the log. It has its place before anything else can begin."""

    media_type = "text/event-stream"

    def __init__(self, live: Live) -> None:
        super().__init__(live.stream())
        self._live = live

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._live.place():
            await super().__call__(scope, receive, send)


class _Secured:
    """Refuses requests under a name that is not ours, and adds the headers to every answer, error pages too."""

    def __init__(self, app: ASGIApp, hosts: Collection[str]) -> None:
        self._app = app
        self._hosts = hosts
        self._lines = Throttle(*_HOST_LINES)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        hosts = Headers(scope=scope).getlist("host")
        app = self._app if is_among(hosts, self._hosts) else self._refused(" ".join(hosts))

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = {name for name, _ in message["headers"]}
                message["headers"] = [
                    *message["headers"],
                    *(
                        (name.encode(), value.encode())
                        for name, value in _HEADERS.items()
                        if name.encode() not in given
                    ),
                ]
            await send(message)

        await app(scope, receive, with_headers)

    def _refused(self, host: str) -> Response:
        """Return the answer to another name. It says how to add one, since an operator may have to."""
        if self._lines.is_open(host):
            self._lines.failed(host)
            _log.warning("console.refused", reason="unknown-host", host=host)
        return Response(_UNKNOWN_HOST, 421, media_type="text/plain")
