"""The two ASGI applications, built from given parts. This module reads no global and opens nothing."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send


def create_app(endpoint: ASGIApp, webhook_path: str, reasons: Callable[[], list[str]]) -> ASGIApp:
    """Build the public application: the webhook and a health answer without reasons.

    Args:
        endpoint: answers requests for `webhook_path`.
        reasons: returns why this process is not ready; empty when it is.
    """

    async def ready(_: Request) -> Response:
        if reasons():
            return PlainTextResponse("not ready", 503)
        return PlainTextResponse("ok")

    # A bare router, without Starlette's error pages: the endpoint turns every error into an answer itself.
    others = Router(
        routes=[Route("/health/live", _live), Route("/health/ready", ready)], redirect_slashes=False
    )

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == webhook_path:
            await endpoint(scope, receive, send)
        else:
            await others(scope, receive, send)

    return app


def create_admin_app(
    report: Callable[[], Awaitable[dict[str, Any]]],
    exposition: Callable[[], Awaitable[bytes]],
    console: ASGIApp | None = None,
) -> Starlette:
    """Build the application for operators: health with reasons, metrics, and pages.

    Args:
        report: returns the health report; its `ready` decides the status.
        exposition: returns the metrics in Prometheus's text format.
        console: the pages under `/console`; None for none.
    """

    async def ready(_: Request) -> Response:
        found = await report()
        return Response(json.dumps(found), 200 if found["ready"] else 503, media_type="application/json")

    async def metrics(_: Request) -> Response:
        return Response(await exposition(), media_type=CONTENT_TYPE_LATEST)

    pages = [] if console is None else [Mount("/console", console)]
    return Starlette(
        routes=[
            Route("/health/live", _live),
            Route("/health/ready", ready),
            Route("/metrics", metrics),
            *pages,
        ]
    )


async def _live(_: Request) -> Response:
    return PlainTextResponse("ok")
