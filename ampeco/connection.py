"""One HTTP request, for both clients: tenant address and token, gate, transport errors.

Knows httpx2, and nothing about operations. The token leaves this module in the Authorization header only.
"""

import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from http.cookiejar import CookieJar, DefaultCookiePolicy
from importlib.metadata import PackageNotFoundError, version
from types import TracebackType
from typing import Any, Protocol

import httpx2

from ampeco import base_url, key_text
from ampeco.answer_body import ACCEPTED, AnswerBody
from ampeco.errors import ApiError, NoAnswer, NotSent, RateLimited, Unreachable
from ampeco.operations import Operation
from ampeco.rate_limits import RateLimit
from ampeco.wire import WireRequest, decipher, one_line

CANCELLED = "cancelled"  # the outcome that a gate gets when a call was abandoned on the way
_NOT_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.UnsupportedProtocol)


class CallTrace(Protocol):
    """Follows one send.

    Attributes:
        headers: sent with the request, such as `traceparent`.
    """

    headers: Mapping[str, str]

    def ended(self, outcome: str, status: int | None) -> None:
        """Called after the send; arguments as those of `Gate.called`."""


class Gate(Protocol):
    """May refuse a request before it leaves, and learns the outcome afterwards."""

    def admit(self, operation: Operation, path: str) -> CallTrace | None:
        """Called right before each send; raise to refuse it.

        Returns:
            The trace that follows this send; None where traces are off.
        """

    def called(
        self, operation: Operation, path: str, outcome: str, status: int | None, seconds: float
    ) -> None:
        """Called after each send.

        Args:
            outcome: `ok`, the reason of the error, or `cancelled`.
            status: of the answer; None without one.
            seconds: how long it took, from the connection to the last byte.
        """


class AsyncThrough(Protocol):
    """Carries out requests that are not reads: sends them, or returns a recorded answer."""

    async def __call__(self, request: WireRequest, send: Callable[[], Awaitable[Any]], /) -> Any:
        """Carry one out.

        Args:
            send: sends it, with all repetitions that the client's policy allows; to be called at most once.

        Returns:
            The document that `send` gave, now or earlier (JSON data, None for an empty answer).
        """


class Through(Protocol):
    """As `AsyncThrough`, for code that is not async."""

    def __call__(self, request: WireRequest, send: Callable[[], Any], /) -> Any:
        """Carry one out."""


class Slows(Protocol):
    """The part of a budget that is informed of sends and answers."""

    def give_back(self, operation: Operation, /) -> None:
        """The gate refused a call whose turn it was, or the call never left."""

    def slow_down(self, retry_after_s: float | None, /) -> None:
        """AMPECO answered 429."""

    def observe(self, seen: RateLimit, /) -> None:
        """AMPECO said how much of its limit is left."""


@dataclass(frozen=True, slots=True)
class Tenant:
    """Where to call and with which token, checked before the first request so that no error can quote the token."""

    url: str
    token: str = field(repr=False)

    @classmethod
    def of(cls, url: str, token: str) -> "Tenant":
        """Check both; a ValueError says what is wrong without quoting the token."""
        if (fault := key_text.fault_of(token)) is not None:
            raise ValueError(f"the API token {fault}")
        if (fault := base_url.fault_of(url)) is not None:
            raise ValueError(f"the tenant URL {fault}")
        try:
            httpx2.URL(url)
        except httpx2.InvalidURL:
            raise ValueError("the tenant URL is not a URL") from None
        return cls(url.rstrip("/").removesuffix("/public-api"), token)

    def http_options(self, timeout_s: float) -> dict[str, Any]:
        """Arguments of the HTTP client."""
        return {
            "headers": {
                "Authorization": f"Bearer {self.token}",
                "Accept": "application/json",
                "Accept-Encoding": ACCEPTED,
                "User-Agent": f"ampeco-receiver/{_version()}",
            },
            "cookies": CookieJar(DefaultCookiePolicy(allowed_domains=())),  # else each answer could add some
            "timeout": timeout_s,
            "follow_redirects": False,
            "trust_env": not base_url.is_loopback(httpx2.URL(self.url).host),  # no proxy for the simulator
        }

    def arguments(self, request: WireRequest, passage: "Passage") -> dict[str, Any]:
        """Arguments of one HTTP request."""
        headers = {"Content-Type": "application/json"} if request.body else {}
        return {
            "method": request.method,
            "url": self.url + request.path,
            "params": request.query or None,
            "content": request.body or None,
            "headers": {**headers, **passage.headers} or None,
        }

    def decipher(self, request: WireRequest, response: httpx2.Response, body: AnswerBody) -> Any:
        """Decipher as `wire.decipher` does; an error does not hold a token that the answer echoes."""
        content, status = body.whole(), response.status_code
        with contextlib.suppress(ApiError):
            return decipher(request, status, response.headers, content, body.fault)
        headers = {
            name: self._without_token(value.encode()).decode() for name, value in response.headers.items()
        }
        return decipher(request, status, headers, self._without_token(content), body.fault)

    def unreachable(self, request: WireRequest, error: httpx2.HTTPError) -> Unreachable:
        """Our error for one of the transport: was the request certainly not sent, or is its outcome unknown?

        The transport quotes a line of an answer that is no HTTP, and that line may echo the token.
        """
        kind = NotSent if isinstance(error, _NOT_SENT) else NoAnswer
        said = one_line(self._without_token(str(error).encode(errors="replace")).decode())
        if "@" in said:  # it may quote a URL with a password, as that of a proxy
            said = ""
        name = type(error).__name__
        return kind(request.operation.name, None, f"{name}: {said}" if said else name)

    def _without_token(self, said: bytes) -> bytes:
        token = self.token.encode()
        for spelling in (token, token.replace(b"/", rb"\/"), repr(token)[2:-1].encode()):
            said = said.replace(spelling, b"[token]")
        return said


class Passage:
    """Context of one send: asks the gate before it, and reports the outcome to gate and budget after it."""

    def __init__(self, gate: Gate | None, request: WireRequest, budget: Slows | None = None) -> None:
        self._gate = gate
        self._budget = budget
        self._request = request
        self._status: int | None = None
        self._trace: CallTrace | None = None
        self._began_s = 0.0

    @property
    def headers(self) -> Mapping[str, str]:
        """Headers that the gate adds to the request."""
        return {} if self._trace is None else self._trace.headers

    def answered(self, response: httpx2.Response) -> None:
        """Note an answer; the budget learns what it says about the rate limit."""
        self._status = response.status_code
        seen = None if self._budget is None else RateLimit.of(response.headers)
        if self._budget is not None and seen is not None:
            self._budget.observe(seen)

    def __enter__(self) -> "Passage":
        if self._gate is not None:
            try:
                self._trace = self._gate.admit(self._request.operation, self._request.path)
            except BaseException:
                if self._budget is not None:
                    self._budget.give_back(self._request.operation)
                raise
            self._began_s = time.perf_counter()
        return self

    def __exit__(
        self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None
    ) -> None:
        if self._budget is not None and isinstance(error, RateLimited):
            self._budget.slow_down(error.retry_after_s)
        if self._budget is not None and isinstance(error, NotSent):
            self._budget.give_back(self._request.operation)
        if self._gate is None:
            return
        outcome = "ok" if error is None else error.reason if isinstance(error, ApiError) else CANCELLED
        seconds = time.perf_counter() - self._began_s
        if self._trace is not None:
            self._trace.ended(outcome, self._status)
        self._gate.called(self._request.operation, self._request.path, outcome, self._status, seconds)


def late(request: WireRequest, answer_s: float) -> NoAnswer:
    """Our error for an exchange that was not over in time."""
    return NoAnswer(request.operation.name, None, f"no whole answer within {answer_s:g} s")


@cache
def _version() -> str:
    try:
        return version("ampeco-receiver")
    except PackageNotFoundError:
        return "0"
