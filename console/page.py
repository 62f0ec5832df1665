"""One request for a page: its session and its rights, what the page may use, and how it answers.

Every page runs in a bounded time. When the log does not answer, the page says so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, TypeAlias
from urllib.parse import parse_qsl, quote, urlencode

from jinja2 import Environment
from redis.exceptions import RedisError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from console.bodies import BodyReader
from console.live import Live
from console.resends import Resends
from console.running import Running
from console.sessions import Session, Sessions, Throttle
from console.wording import Wording
from eventlog.audit import Act
from eventlog.clock import now_ms
from eventlog.connection.reasons import reason_of
from eventlog.errors import LogError, UnknownName
from eventlog.log import EventLog
from eventlog.ownership import lanes_kept
from eventlog.record import UnknownRecord

COOKIE: Final = "awr_console"
READ_S: Final = 1.8  # the longest that a page may take
ACT_S: Final = 20.0
GAP_BYTES: Final = 60_000
"""Of the records of gaps that a page reads."""

_FORM_S = 10.0  # the longest that a form may take to arrive
_MOST_FORM_BYTES = 65_536
_MOST_FIELDS = 500
_MOST_QUERY_CHARS = 500  # of one value


class Problem(Exception):
    """Ends a page with another one that says what is wrong.

    Attributes:
        status: of the answer.
        reason: stable slug.
        text: a sentence for the reader.
    """

    def __init__(self, status: int, reason: str, text: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.text = text


@dataclass(frozen=True)
class Console:
    """What all pages share.

    Attributes:
        nav: path and label of the pages in the navigation.
        log_ins, refusals: bound trials of tokens; refused acts that are written down.
        running: acts that take longer than a page.
        bodies: reads quarantined bodies; None where nothing can.
        resends: how to ask AMPECO for a resend; None where the process has no token for it.
    """

    log: EventLog
    wording: Wording
    sessions: Sessions
    templates: Environment
    live: Live
    nav: tuple[tuple[str, str], ...]
    log_ins: Throttle
    refusals: Throttle
    running: Running
    bodies: BodyReader | None
    resends: Resends | None = None


class Page:
    """A request, as the module of a page sees it."""

    def __init__(self, console: Console, request: Request) -> None:
        self.console = console
        self.request = request
        self.log = console.log
        self.session: Session | None = console.sessions.read(request.cookies.get(COOKIE, ""))

    @property
    def may_act(self) -> bool:
        """Whether this session may change things."""
        return self.session is not None and "act" in self.session.rights

    @property
    def may_read_bodies(self) -> bool:
        """Whether this session may see the bodies of events."""
        return self.session is not None and "bodies" in self.session.rights

    @property
    def shows_personal(self) -> bool:
        """Whether personal values are to be shown: this session may see them, and the address asks for them."""
        return self.may_read_bodies and self.asked("personal") == "show"

    @cached_property
    def address(self) -> str:
        """Where the request comes from."""
        return self.request.client.host if self.request.client else ""

    @cached_property
    def now_ms(self) -> int:
        return now_ms()

    def url(self, path: str, /, **query: object) -> str:
        """Return the address of a page; a query value of None or empty is left out."""
        asked = {name.rstrip("_"): str(value) for name, value in query.items() if value not in (None, "")}
        root = str(self.request.scope.get("root_path", ""))
        return f"{root}/{quote(path)}" + (f"?{urlencode(asked)}" if asked else "")

    def asked(self, name: str) -> str:
        """Return a value of the query, without blanks at its ends; empty if it is not there.

        Raises:
            Problem: it is too long.
        """
        value = self.request.query_params.get(name, "").strip()
        if len(value) > _MOST_QUERY_CHARS:
            raise Problem(400, "query-too-long", f"{name} has more than {_MOST_QUERY_CHARS} characters.")
        return value

    def moment_ms(self, name: str, text: str) -> int:
        """Return the moment that a text names, such as `2h ago`, in Unix ms.

        Args:
            name: of the field that has the text.

        Raises:
            Problem: it names none.
        """
        try:
            return self.console.wording.moment(text, self.now_ms)
        except ValueError as error:
            raise Problem(400, "no-time", f"{name}: {error}") from None

    def show(self, template: str, status: int = 200, **values: Any) -> Response:
        """Answer with a template."""
        root = str(self.request.scope.get("root_path", ""))
        path = str(self.request.scope["path"]).removeprefix(root).strip("/")
        text = self.console.templates.get_template(template).render(
            page=self,
            url=self.url,
            nav=self.console.nav,
            here=path.partition("/")[0],
            this=self.url(path) + (f"?{self.request.url.query}" if self.request.url.query else ""),
            session=self.session,
            form_token=self.console.sessions.form_token(self.session) if self.session else "",
            can_log_in=bool(self.console.sessions.possible),
            **values,
        )
        return HTMLResponse(text, status)

    def act(
        self, what: str, plan: Mapping[str, Any], count: int | None = None, *, session: Session | None = None
    ) -> Act:
        """Return an act as the audit has it, by the person of a session; by default that of this request."""
        session = session or self.session
        name, token = ("", "") if session is None else (session.name, self.console.sessions.token_id(session))
        return Act(name, self.address, "console", what, plan, count, token=token)

    def go_to(self, path: str, /, **query: object) -> Response:
        """Redirect to another page."""
        return RedirectResponse(self.url(path, **query), 303)

    async def form(self) -> Mapping[str, str]:
        """Read a form that was sent. No other site can send it: its origin is checked.

        Raises:
            Problem: it comes from elsewhere, is too long or too slow, or no form.
        """
        headers = self.request.headers
        origin = headers.get("origin")  # programs send none
        elsewhere = origin is not None and origin.partition("://")[2] != headers.get("host", "")
        if elsewhere or headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            raise Problem(403, "other-origin", "The form was sent by another site.")
        kind = self.request.headers.get("content-type", "").partition(";")[0].strip()
        if kind != "application/x-www-form-urlencoded":
            raise Problem(415, "no-form", "This is not a form.")
        received = bytearray()
        try:
            async with asyncio.timeout(_FORM_S):
                async for part in self.request.stream():
                    received += part
                    if len(received) > _MOST_FORM_BYTES:
                        raise Problem(413, "form-too-long", "The form is too long.")
        except TimeoutError:
            raise Problem(408, "form-too-slow", f"The form did not arrive within {_FORM_S:g} s.") from None
        except ClientDisconnect:
            raise Problem(400, "form-cut-off", "The form did not arrive as a whole.") from None
        try:
            return dict(parse_qsl(received.decode(), keep_blank_values=True, max_num_fields=_MOST_FIELDS))
        except ValueError:
            raise Problem(400, "no-form", "The form cannot be read.") from None


Endpoint: TypeAlias = Callable[[Page], Awaitable[Response]]


def guarded(
    console: Console, endpoint: Endpoint, *, reads_log: bool = True
) -> Callable[[Request], Awaitable[Response]]:
    """Return an endpoint for Starlette that turns what may go wrong into a page.

    Args:
        reads_log: False for a page that works without Redis.
    """

    async def answer(request: Request) -> Response:
        page = Page(console, request)
        most_s = READ_S if request.method in ("GET", "HEAD") else ACT_S
        bound = asyncio.timeout(most_s)
        try:
            async with bound:
                if reads_log:
                    await _know_lanes(console)
                return await endpoint(page)
        except Problem as problem:
            return page.show("problem.html", problem.status, reason=problem.reason, text=problem.text)
        except UnknownName as error:
            return page.show("problem.html", 404, reason=error.reason, text=str(error))
        except LogError as error:
            return page.show("problem.html", 409, reason=error.reason, text=str(error))
        except UnknownRecord:
            text = "Another version of this program wrote a record of it; its console can read it."
            return page.show("problem.html", 409, reason="other-version", text=text)
        except (RedisError, OSError, TimeoutError) as error:
            if bound.expired():
                return _away(page, "redis-slow", f"Redis did not answer all of it within {most_s} s")
            reason = reason_of(error)
            return _away(page, reason.slug, f"Redis cannot be read now: {reason.hint}")

    return answer


def _away(page: Page, reason: str, text: str) -> Response:
    """Answer that the log cannot be read now."""
    text = f"{text}. This page works again as soon as Redis does."
    answer = page.show("problem.html", 503, reason=reason, text=text)
    answer.headers["Retry-After"] = "2"
    return answer


async def _know_lanes(console: Console) -> None:
    """Use the number of lanes that the log was made with. It may have been claimed since the start."""
    console.log.lanes = await lanes_kept(console.log) or console.log.lanes
