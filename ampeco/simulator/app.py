"""The pretend tenant over HTTP: AMPECO's paths with bearer tokens, and control endpoints under /simulator/.

It translates between HTTP and the tenant; no rule of the tenant lives here. The control endpoints ask for no
token: whoever reaches this port may drive the simulation.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from ampeco.simulator import answers
from ampeco.simulator.model import Refused
from ampeco.simulator.requests import read_letter, read_plan, read_resend, read_subscription
from ampeco.simulator.scenario import Scenario
from ampeco.simulator.sender import Sender
from ampeco.simulator.tenant import Tenant


def create_app(tenant: Tenant) -> Starlette:
    """The API and the control endpoints; its lifespan runs the sender, without it deliveries stay pending."""
    scenario = Scenario(tenant)

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

    return Starlette(
        routes=[*_api(tenant, scenario), *_control(tenant, scenario)],
        exception_handlers={Refused: _refused, HTTPException: _no_such_path},
        lifespan=lifespan,
    )


def _api(tenant: Tenant, scenario: Scenario) -> list[BaseRoute]:
    async def listing(request: Request) -> Response:
        tenant.admit(_token(request), writes=False)
        return JSONResponse(answers.page(request, list(tenant.subscriptions.values())))

    async def subscribe(request: Request) -> Response:
        token = tenant.admit(_token(request), writes=True)
        made = tenant.subscribe(read_subscription(await _json(request)), token)
        return JSONResponse({"data": answers.resource(made)}, 201)

    async def read(request: Request) -> Response:
        tenant.admit(_token(request), writes=False)
        return JSONResponse({"data": answers.resource(tenant.subscription(request.path_params["id"]))})

    async def update(request: Request) -> Response:
        tenant.admit(_token(request), writes=True)
        subscription = tenant.subscription(request.path_params["id"])
        subscription.request = read_subscription(await _json(request))  # keeps the key: not published
        return JSONResponse({"data": answers.resource(subscription)})

    async def unsubscribe(request: Request) -> Response:
        tenant.admit(_token(request), writes=True)
        tenant.unsubscribe(tenant.subscription(request.path_params["id"]))
        return Response(status_code=204)

    async def resend(request: Request) -> Response:
        tenant.admit(_token(request), writes=True)
        subscription = tenant.subscription(request.path_params["id"])
        body = await _json(request)
        tenant.resend(subscription, *read_resend(body))
        tenant.record("notifications.resend-failed", {"notification": str(subscription.id)}, body)
        return Response(status_code=202)

    async def reset(request: Request) -> Response:
        tenant.admit(_token(request), writes=True)
        charge_point = _number(request, "charge_point")
        kind = request.path_params["type"].lower()
        if kind not in {"hard", "soft"}:
            raise Refused(422, "The given data was invalid.", errors={"type": ["Must be hard or soft."]})
        tenant.record("charge-point.reset", {"chargePoint": str(charge_point), "type": kind})
        scenario.reset(charge_point)
        return JSONResponse({"success": True})

    async def unlock(request: Request) -> Response:
        tenant.admit(_token(request), writes=True)
        charge_point, evse = _number(request, "charge_point"), _number(request, "evse")
        tenant.record("charge-point.unlock", {"chargePoint": str(charge_point), "evse": str(evse)})
        return JSONResponse({"success": True})

    notifications = "/public-api/notifications/v2.0"
    actions = "/public-api/actions"
    return [
        Route(notifications, listing, methods=["GET"]),
        Route(notifications, subscribe, methods=["POST"]),
        Route(notifications + "/{id}", read, methods=["GET"]),
        Route(notifications + "/{id}", update, methods=["PUT"]),
        Route(notifications + "/{id}", unsubscribe, methods=["DELETE"]),
        Route(actions + "/notifications/v1.0/{id}/resend", resend, methods=["POST"]),
        Route(actions + "/charge-point/v1.0/{charge_point}/reset/{type}", reset, methods=["POST"]),
        Route(actions + "/charge-point/v1.0/{charge_point}/unlock/{evse}", unlock, methods=["POST"]),
    ]


def _control(tenant: Tenant, scenario: Scenario) -> list[BaseRoute]:
    async def state(request: Request) -> Response:
        return JSONResponse(answers.state(tenant, scenario))

    async def actions(request: Request) -> Response:
        return JSONResponse({"actions": [answers.action(action) for action in tenant.actions]})

    async def start(request: Request) -> Response:
        scenario.start(read_plan(await _json(request) if await request.body() else {}))
        return JSONResponse({"scenario": scenario.describe()})

    async def stop(request: Request) -> Response:
        await scenario.stop()
        return JSONResponse({"scenario": scenario.describe()})

    async def send(request: Request) -> Response:
        letter = read_letter(await _json(request))
        return JSONResponse({"made": tenant.announce(*letter)})

    async def enable(request: Request) -> Response:
        return switch(request, enabled=True)

    async def disable(request: Request) -> Response:
        return switch(request, enabled=False)

    def switch(request: Request, *, enabled: bool) -> Response:
        subscription = tenant.subscription(request.path_params["id"])
        subscription.enabled = enabled
        return JSONResponse({"subscription": answers.shown(subscription)})

    return [
        Route("/simulator/state", state, methods=["GET"]),
        Route("/simulator/actions", actions, methods=["GET"]),
        Route("/simulator/start", start, methods=["POST"]),
        Route("/simulator/stop", stop, methods=["POST"]),
        Route("/simulator/send", send, methods=["POST"]),
        Route("/simulator/subscriptions/{id}/enable", enable, methods=["POST"]),
        Route("/simulator/subscriptions/{id}/disable", disable, methods=["POST"]),
    ]


# -- what comes in


def _token(request: Request) -> str | None:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


async def _json(request: Request) -> object:
    try:
        body: object = await request.json()
    except (ValueError, RecursionError):
        raise Refused(422, "The body is not JSON.") from None
    return body


def _number(request: Request, name: str) -> int:
    text: str = request.path_params[name]
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise Refused(404, "There is no such resource.")
    return int(text)


# -- what goes out


async def _refused(request: Request, refusal: Exception) -> Response:
    assert isinstance(refusal, Refused)  # noqa: S101 (for the type checker)
    answer: dict[str, Any] = {"message": refusal.message}
    if refusal.errors:
        answer["errors"] = refusal.errors
    headers = {} if refusal.retry_after_s is None else {"Retry-After": str(refusal.retry_after_s)}
    return JSONResponse(answer, refusal.status, headers)


async def _no_such_path(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 (for the type checker)
    return JSONResponse({"message": error.detail}, error.status_code, error.headers)
