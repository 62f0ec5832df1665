"""The pretend tenant as a web application: its API, the control endpoints, and the sender that delivers."""

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager, suppress

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ampeco.simulator.api.api import METHODS, Api, refused
from ampeco.simulator.api.control import Control
from ampeco.simulator.delivery.sender import Sender
from ampeco.simulator.fleet.scenario import Scenario
from ampeco.simulator.fleet.world import World
from ampeco.simulator.model import Refused
from ampeco.simulator.store import Store
from ampeco.simulator.tenant import Tenant


def create_app(tenant: Tenant, hosts: Collection[str] | None = None) -> Starlette:
    """The API and the control endpoints; its lifespan runs the sender, without it deliveries stay pending.

    Args:
        hosts: as those of `Control`; None for an app that listens at no port.
    """
    scenario = Scenario(tenant)
    store = Store(World(lambda: scenario.fleet))
    api = Api(tenant, scenario, store)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        sender = asyncio.create_task(Sender(tenant).run())
        try:
            yield
        finally:
            await scenario.stop()
            sender.cancel()
            with suppress(asyncio.CancelledError):
                await sender

    async def refuse(request: Request, refusal: Exception) -> Response:
        assert isinstance(refusal, Refused)  # noqa: S101 (for the type checker)
        return refused(refusal, tenant)

    return Starlette(
        routes=[
            Route("/public-api/{path:path}", api.endpoint, methods=list(METHODS)),
            *Control(tenant, scenario, store, hosts).routes(),
        ],
        exception_handlers={Refused: refuse, HTTPException: _no_such_path},
        lifespan=lifespan,
    )


async def _no_such_path(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 (for the type checker)
    return JSONResponse({"message": error.detail}, error.status_code, error.headers)
