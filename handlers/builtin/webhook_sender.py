"""Sends JSON to a URL that an operator configured, for handlers that pass events on.

The URL is a secret, since its path often is the password: no error and no log line has a part of it. Time and answer
are bounded. A redirect is not followed: it could lead what is sent to any place, and over plain HTTP.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from http.cookiejar import CookieJar, DefaultCookiePolicy
from urllib.parse import urlsplit

import httpx2

from ampeco import base_url
from ampeco.rate_limits import retry_after_s

WITHIN_S = 10.0
ANSWER_BYTES = 16_384  # read, so that the connection can be used again; more than that ends it

_LATER = frozenset({408, 425, 429})


class SendError(Exception):
    """The target did not take the message; the reason quotes nothing of the URL or the answer."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Refused(SendError):
    """The target will not take this message later either: a redirect, or a 4xx."""


class Away(SendError):
    """The target may take this message later: it cannot be reached, is too slow, or answers 408, 425, 429 or 5xx.

    Attributes:
        after_s: the pause that the target asks for, at most a day; None when it names none.
    """

    def __init__(self, reason: str, after_s: float | None = None) -> None:
        super().__init__(reason)
        self.after_s = after_s


def fault_of(url: str, *, plain_http: bool = False) -> str | None:
    """Return what is wrong with a target's URL, as the end of a sentence; None if nothing is. It may have a query.

    Args:
        plain_http: whether http is accepted beyond this machine.
    """
    if "@" in url or "#" in url:
        return "must hold no user, no password and no fragment"
    if (fault := base_url.fault_of(url.replace("?", "/"))) is not None:
        return fault
    try:
        httpx2.URL(url)
    except httpx2.InvalidURL:
        return "is not a URL"
    if base_url.in_clear(url) and not plain_http:
        return "is http beyond this machine; use https, or set AWR_ALLOW_PLAIN_HTTP=1"
    return None


class WebhookSender:
    """Makes POSTs to one target. It repeats nothing.

    Args:
        url: returns the URL; called for each POST, so that it can change.
        plain_http: whether http is accepted beyond this machine.
        within_s: time for a POST with its answer, in seconds.
    """

    def __init__(
        self, url: Callable[[], str], *, plain_http: bool = False, within_s: float = WITHIN_S
    ) -> None:
        self._url = url
        self._plain_http = plain_http
        self._within_s = within_s
        self._clients: dict[bool, httpx2.AsyncClient] = {}

    async def post(self, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        """Send JSON; return when the target has answered 2xx.

        Raises:
            Refused, Away: see there. Whether a target that is `Away` has taken the message is unknown.
        """
        url = self._url()
        if (fault := fault_of(url, plain_http=self._plain_http)) is not None:
            raise Away(f"the URL of the target {fault}")  # it may come from a file that is being replaced
        client = self._client(base_url.is_loopback(urlsplit(url).hostname or ""))
        sent = {"Content-Type": "application/json", **(headers or {})}
        try:
            async with (
                asyncio.timeout(self._within_s),
                client.stream("POST", url, content=body, headers=sent) as answer,
            ):
                await _pass_over(answer)
        except TimeoutError:
            raise Away(f"the target has not answered within {self._within_s:g} s") from None
        except httpx2.HTTPError as error:  # its text may quote the URL
            raise Away(f"the target cannot be reached: {type(error).__name__}") from None
        _check(answer)

    async def aclose(self) -> None:
        """Close the connections."""
        for client in self._clients.values():
            await client.aclose()

    def _client(self, is_loopback: bool) -> httpx2.AsyncClient:
        """Return a client that uses the proxy of the environment, or none for this machine."""
        if is_loopback not in self._clients:
            self._clients[is_loopback] = httpx2.AsyncClient(
                timeout=self._within_s,
                follow_redirects=False,
                trust_env=not is_loopback,
                cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
                headers={"User-Agent": "ampeco-receiver", "Accept-Encoding": "identity"},
            )
        return self._clients[is_loopback]


@contextlib.asynccontextmanager
async def opened(sender: WebhookSender) -> AsyncIterator[WebhookSender]:
    """Close a sender at the end of the block."""
    try:
        yield sender
    finally:
        await sender.aclose()


async def _pass_over(answer: httpx2.Response) -> None:
    received = 0
    async for piece in answer.aiter_raw():
        received += len(piece)
        if received > ANSWER_BYTES:
            return


def _check(answer: httpx2.Response) -> None:
    status = answer.status_code
    if 200 <= status < 300:
        return
    said = f"the target answers {status}"
    if status in _LATER or status >= 500:
        raise Away(said, retry_after_s(status, answer.headers))
    if 300 <= status < 400:
        said += ", and a redirect is not followed"
    raise Refused(said)
