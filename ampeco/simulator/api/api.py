"""The pretend tenant's API over HTTP: finds the operation, asks who calls and how often, answers, records the call.

It holds no rule of any operation. Failing proxies and rate limits are here, since they come before every operation.
"""

import math
from collections.abc import Mapping
from datetime import timedelta
from email.utils import format_datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from ampeco.operations import VERSIONS, Operation
from ampeco.signature import SigningKey
from ampeco.simulator.api.call import Call
from ampeco.simulator.api.operation_answers import OperationAnswers
from ampeco.simulator.api.routing import Match, Routes
from ampeco.simulator.fleet.scenario import Scenario
from ampeco.simulator.model import RecordedCall, Refused
from ampeco.simulator.store import Store
from ampeco.simulator.switches import Habits, hit
from ampeco.simulator.tenant import Tenant

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
_PROXY_PAUSE_S = 1.0
_PROXY_PAGE = (
    "<html>\n<head><title>{0}</title></head>\n<body><h1>{0}</h1><hr>simulated proxy</body>\n</html>\n"
)
_REFUSALS = {
    406: "The action was rejected by the charge point.",
    409: "The state of the resource does not allow this.",
    501: "The charge point does not implement this.",
}


class Api:
    """Everything under /public-api."""

    def __init__(self, tenant: Tenant, scenario: Scenario, store: Store) -> None:
        self._tenant = tenant
        self._routes = Routes(VERSIONS.values())
        self._operations = OperationAnswers(tenant, scenario, store)
        self._calls = 0

    async def endpoint(self, request: Request) -> Response:
        """Answer a request."""
        raw = await request.body()
        self._calls += 1
        match: Match | None = None
        token = _token(request)
        try:
            match = self._routes.match(request.method, _path(request))
            token = self._admit(match.operation, token)
            response = self._answered(match, request, raw, token)
        except Refused as refusal:
            response = refused(refusal, self._tenant)
        self._record(request, match, token, response.status_code, raw)
        return response

    def _admit(self, operation: Operation, token: str | None) -> str:
        known = self._tenant.access.admit(token, writes=operation.kind != "read")
        rate = self._tenant.habits.requests_per_s
        if rate is not None:
            wait_s = self._tenant.access.too_fast_s(known, rate, self._tenant.now())
            if wait_s is not None:
                raise Refused(429, "Too Many Attempts.", retry_after_s=math.ceil(wait_s))
        return known

    def _answered(self, match: Match, request: Request, raw: bytes, token: str) -> Response:
        habits, operation = self._tenant.habits, match.operation
        fails = (
            habits.api_fault_share > 0
            and (not habits.api_fault_operations or operation.name in habits.api_fault_operations)
            and hit(habits.api_fault_share, habits.seed, "api", self._calls)
        )
        if fails and not habits.api_fault_after:
            return self._proxy_fault(habits)
        if (status := habits.refusals.get(operation.name)) is not None:
            raise Refused(status, _REFUSALS.get(status, "The request was refused."))
        url = str(request.url.replace(query=""))
        answer = self._operations.answer(
            Call(operation, match.params, tuple(request.query_params.multi_items()), url, token, raw)
        )
        if fails:
            return self._proxy_fault(habits)
        if answer.document is None:
            return Response(status_code=answer.status)
        return JSONResponse(answer.document, answer.status)

    def _proxy_fault(self, habits: Habits) -> Response:
        status = habits.api_fault_status
        headers = _retry_after(_PROXY_PAUSE_S, self._tenant) if status in {429, 503} else {}
        if habits.api_fault_html:
            return HTMLResponse(_PROXY_PAGE.format(f"{status} Bad Gateway"), status, headers)
        return JSONResponse({"message": "Server Error"}, status, headers)

    def _record(
        self, request: Request, match: Match | None, token: str | None, status: int, raw: bytes
    ) -> None:
        known = token is not None and self._tenant.access.knows(token)
        self._tenant.calls.append(
            RecordedCall(
                number=self._calls,
                operation=match.operation.name if match else None,
                version=match.operation.version if match else None,
                method=request.method,
                path=request.url.path,
                params=match.params if match else {},
                key_id=SigningKey.of(token).key_id if known and token else None,
                status=status,
                called_at=self._tenant.now(),
                raw=raw,
            )
        )


def refused(refusal: Refused, tenant: Tenant) -> Response:
    """What the API answers to a call it refuses: a message, and a list per field where fields are wrong."""
    answer: dict[str, Any] = {"message": refusal.message}
    if refusal.errors:
        answer["errors"] = refusal.errors
    headers = {} if refusal.retry_after_s is None else _retry_after(refusal.retry_after_s, tenant)
    if refusal.status == 429:
        headers = {**headers, **_rate_limit(refusal.retry_after_s or 0, tenant)}
    return JSONResponse(answer, refusal.status, headers)


def _rate_limit(pause_s: float, tenant: Tenant) -> Mapping[str, str]:
    """The contract points to headers of this name and says no more; these are how a Laravel service writes them."""
    at = math.ceil(tenant.now().timestamp() + pause_s)
    limit = math.ceil(tenant.habits.requests_per_s or 1)
    return {"X-RateLimit-Limit": str(limit), "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(at)}


def _retry_after(pause_s: float, tenant: Tenant) -> Mapping[str, str]:
    match tenant.habits.retry_after:
        case "none":
            return {}
        case "date":
            at = tenant.now() + timedelta(seconds=math.ceil(pause_s))
            return {"Retry-After": format_datetime(at, usegmt=True)}
    return {"Retry-After": str(math.ceil(pause_s))}


def _token(request: Request) -> str | None:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def _path(request: Request) -> str:
    """The path as it was sent: an escaped slash belongs to a parameter."""
    raw: bytes = request.scope.get("raw_path") or request.url.path.encode()
    return raw.partition(b"?")[0].decode("ascii", "replace")
