"""The control endpoints under /simulator: drive the simulation, and read what was sent, answered and called.

They ask for no token: every program that reaches this port may drive the simulation. A web page may not, although
the browser that shows it reaches the port: it can send no JSON to another origin, and a name of its own that leads
here (DNS rebinding) is none of our hosts.
"""

from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator
from itertools import islice
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from ampeco import key_text
from ampeco.host_names import is_among
from ampeco.simulator.api import answers
from ampeco.simulator.api.requests import read_letter
from ampeco.simulator.fleet.announcements import encode
from ampeco.simulator.fleet.scenario import Scenario
from ampeco.simulator.fleet.scenario_files import about_each, load
from ampeco.simulator.model import Delivery, RecordedCall, Refused
from ampeco.simulator.store import Store
from ampeco.simulator.switches import as_json
from ampeco.simulator.tenant import Tenant
from ampeco.simulator.validation import read_fault, read_habits, read_plan

T = TypeVar("T")

PER_PAGE = 100
MAX_PER_PAGE = 1000


class Control:
    """The control endpoints.

    Args:
        hosts: names under which they may be reached, in addition to localhost and every IP address; None for all.
    """

    def __init__(
        self, tenant: Tenant, scenario: Scenario, store: Store, hosts: Collection[str] | None = None
    ) -> None:
        self._tenant = tenant
        self._scenario = scenario
        self._store = store
        self._hosts = None if hosts is None else {host.lower() for host in hosts}

    def routes(self) -> list[BaseRoute]:
        """What is where."""
        return [
            Route(route.path, self._guarded(route.endpoint), methods=list(route.methods or ()))
            for route in self._routes()
        ]

    def _guarded(self, endpoint: Callable[[Request], Awaitable[Response]]) -> Any:
        async def guarded(request: Request) -> Response:
            if self._hosts is not None and not is_among(request.headers.getlist("host"), self._hosts):
                raise Refused(403, "This host is none of the simulator's; --allow-host adds one.")
            kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
            if request.method in ("POST", "PUT", "PATCH") and kind != "application/json":
                raise Refused(415, "The body must be application/json; {} will do.")
            return await endpoint(request)

        return guarded

    def _routes(self) -> list[Route]:
        return [
            Route("/simulator/state", self._state, methods=["GET"]),
            Route("/simulator/actions", self._actions, methods=["GET"]),
            Route("/simulator/calls", self._calls, methods=["GET"]),
            Route("/simulator/deliveries", self._deliveries, methods=["GET"]),
            Route("/simulator/reset-counters", self._reset_counters, methods=["POST"]),
            Route("/simulator/start", self._start, methods=["POST"]),
            Route("/simulator/stop", self._stop, methods=["POST"]),
            Route("/simulator/scenarios", self._scenarios, methods=["GET"]),
            Route("/simulator/send", self._send, methods=["POST"]),
            Route("/simulator/sample", self._sample, methods=["GET"]),
            Route("/simulator/objects/{path:path}", self._seed, methods=["PUT"]),
            Route("/simulator/habits", self._habits, methods=["GET"]),
            Route("/simulator/habits", self._change_habits, methods=["PATCH"]),
            Route("/simulator/faults", self._order_fault, methods=["POST"]),
            Route("/simulator/faults", self._end_faults, methods=["DELETE"]),
            Route("/simulator/tokens", self._tokens, methods=["GET"]),
            Route("/simulator/tokens", self._add_token, methods=["POST"]),
            Route("/simulator/tokens/{key_id}", self._remove_token, methods=["DELETE"]),
            Route("/simulator/subscriptions/{id}/enable", self._enable, methods=["POST"]),
            Route("/simulator/subscriptions/{id}/disable", self._disable, methods=["POST"]),
        ]

    # -- reading

    async def _state(self, request: Request) -> Response:
        return JSONResponse(answers.state(self._tenant, self._scenario))

    async def _actions(self, request: Request) -> Response:
        return JSONResponse({"actions": [answers.action(action) for action in self._tenant.actions]})

    async def _calls(self, request: Request) -> Response:
        query = request.query_params
        found = _page(_chosen_calls(self._tenant.calls, query), request, lambda call: call.number)
        return JSONResponse({"calls": [answers.call(call) for call in found[0]], "next": found[1]})

    async def _deliveries(self, request: Request) -> Response:
        query = request.query_params
        found = _page(_chosen_deliveries(self._tenant.deliveries, query), request, lambda made: made.id)
        with_body = query.get("body") not in {None, "", "0", "false"}
        shown = [answers.delivery(made, with_body=with_body) for made in found[0]]
        return JSONResponse({"deliveries": shown, "next": found[1]})

    async def _reset_counters(self, request: Request) -> Response:
        self._tenant.forget()
        return JSONResponse(answers.state(self._tenant, self._scenario))

    # -- driving

    async def _start(self, request: Request) -> Response:
        given = await _json(request) if await request.body() else {}
        if isinstance(given, dict) and isinstance(name := given.get("scenario"), str):
            given = {**load(name), **{key: value for key, value in given.items() if key != "scenario"}}
        plan = read_plan(given)
        self._refuse_other_concurrency(plan.habits)
        self._scenario.start(plan)
        return JSONResponse({"scenario": self._scenario.describe()})

    async def _stop(self, request: Request) -> Response:
        await self._scenario.stop()
        return JSONResponse({"scenario": self._scenario.describe()})

    async def _scenarios(self, request: Request) -> Response:
        return JSONResponse({"scenarios": about_each()})

    async def _send(self, request: Request) -> Response:
        letter = read_letter(await _json(request))
        body = letter.body
        if body is None:
            body = encode(self._scenario.sample(letter.notification, letter.charge_point_id))
        made = self._tenant.announce(
            letter.notification, letter.charge_point_id, body, as_it_is=letter.as_it_is
        )
        return JSONResponse({"made": made})

    async def _sample(self, request: Request) -> Response:
        notification = request.query_params.get("notification", "")
        charge_point_id = _whole(request, "charge_point", 0) or None
        return JSONResponse(self._scenario.sample(notification, charge_point_id))

    async def _seed(self, request: Request) -> Response:
        *path, id_ = request.path_params["path"].strip("/").split("/")
        given = await _json(request)
        if not path or not isinstance(given, dict):
            raise Refused(422, "Name a resource and an id, and give the fields as an object.")
        return JSONResponse(self._store.put(tuple(path), id_, given))

    async def _habits(self, request: Request) -> Response:
        return JSONResponse({"habits": as_json(self._tenant.habits)})

    async def _change_habits(self, request: Request) -> Response:
        given = await _json(request)
        habits = read_habits(given, self._tenant.habits)
        self._refuse_other_concurrency({"concurrency": habits.concurrency})
        self._tenant.change(habits)
        return await self._habits(request)

    async def _order_fault(self, request: Request) -> Response:
        fault = read_fault(await _json(request))
        self._refuse_other_concurrency(fault.habits)
        self._scenario.trouble.order(fault)
        return JSONResponse({"scenario": self._scenario.describe()})

    async def _end_faults(self, request: Request) -> Response:
        self._scenario.trouble.end()
        return JSONResponse({"scenario": self._scenario.describe()})

    async def _tokens(self, request: Request) -> Response:
        return JSONResponse({"tokens": self._tenant.access.shown()})

    async def _add_token(self, request: Request) -> Response:
        given = await _json(request)
        token = given.get("token") if isinstance(given, dict) else None
        fault = key_text.fault_of(token) if isinstance(token, str) else "must be a text"
        if not isinstance(token, str) or fault is not None:
            raise Refused(422, "The given data was invalid.", errors={"token": [f"token {fault}"]})
        self._tenant.add_token(token, read_only=bool(isinstance(given, dict) and given.get("read_only")))
        return await self._tokens(request)

    async def _remove_token(self, request: Request) -> Response:
        self._tenant.remove_token(request.path_params["key_id"])
        return await self._tokens(request)

    async def _enable(self, request: Request) -> Response:
        return self._switch(request, enabled=True)

    async def _disable(self, request: Request) -> Response:
        return self._switch(request, enabled=False)

    def _switch(self, request: Request, *, enabled: bool) -> Response:
        subscription = self._tenant.subscription(request.path_params["id"])
        subscription.enabled = enabled
        return JSONResponse({"subscription": answers.shown(subscription)})

    def _refuse_other_concurrency(self, habits: Any) -> None:
        now = self._tenant.habits.concurrency
        if habits.get("concurrency", now) != now:
            fault = f"is {now} and fixed while the simulator serves; set it at the start"
            raise Refused(
                422, "The given data was invalid.", errors={"concurrency": [f"concurrency {fault}"]}
            )


async def _json(request: Request) -> object:
    try:
        body: object = await request.json()
    except (ValueError, RecursionError):
        raise Refused(422, "The body is not JSON.") from None
    return body


def _chosen_calls(calls: Iterable[RecordedCall], query: Any) -> Iterator[RecordedCall]:
    for call in calls:
        if (
            query.get("operation") in {None, call.operation}
            and query.get("status") in {None, str(call.status)}
            and query.get("method") in {None, call.method}
        ):
            yield call


def _chosen_deliveries(deliveries: Iterable[Delivery], query: Any) -> Iterator[Delivery]:
    for made in deliveries:
        if (
            query.get("type") in {None, made.notification}
            and query.get("state") in {None, made.state}
            and query.get("subscription") in {None, str(made.subscription.id)}
            and query.get("charge_point") in {None, str(made.charge_point_id)}
        ):
            yield made


def _page(found: Iterable[T], request: Request, number: Callable[[T], int]) -> tuple[list[T], int | None]:
    """Those after `after`, at most `limit`, and what to give as `after` for the next ones (None: no more)."""
    after = _whole(request, "after", 0)
    limit = min(max(_whole(request, "limit", PER_PAGE), 1), MAX_PER_PAGE)
    shown = list(islice((one for one in found if number(one) > after), limit + 1))
    return shown[:limit], number(shown[limit - 1]) if len(shown) > limit else None


def _whole(request: Request, name: str, default: int) -> int:
    text = request.query_params.get(name, "")
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 20 else default
