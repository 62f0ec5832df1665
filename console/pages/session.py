"""Logging in with a token, and out again."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from console.acts import noted, refused
from console.page import COOKIE, Page, Problem
from console.sessions import LASTS_S

_LOG_IN = "console log in"
_MOST_NEXT_CHARS = 1_000


async def show(page: Page) -> Response:
    """Show the form."""
    return page.show("session.html", fault="", next=_next(page, page.request.query_params.get("next", "")))


async def log_in(page: Page) -> Response:
    """Begin a session, or add a right to it."""
    form = await page.form()
    throttle, next_ = page.console.log_ins, _next(page, form.get("next", ""))
    if not throttle.is_open(page.address):
        answer = page.show("session.html", 429, fault="Too many wrong tokens. Wait for a minute.", next=next_)
        answer.headers["Retry-After"] = "60"
        return answer
    if not form.get("name", "").strip():
        return page.show("session.html", 400, fault="Give a name: the audit names it.", next=next_)
    session = page.console.sessions.begin(form.get("token", ""), form["name"], page.session)
    if session is None:
        throttle.failed(page.address)
        await refused(page, _LOG_IN, "wrong-token")
        return page.show("session.html", 403, fault="This is not a token of the console.", next=next_)
    await noted(page, session, _LOG_IN, {"rights": sorted(session.rights)})
    answer = Response(status_code=303, headers={"location": next_})
    answer.set_cookie(COOKIE, page.console.sessions.cookie(session), max_age=LASTS_S, **_cookie_of(page))
    return answer


async def log_out(page: Page) -> Response:
    """End the session in this browser."""
    form = await page.form()
    session, sessions = page.session, page.console.sessions
    if session is not None and not sessions.is_form_token(session, form.get("form_token", "")):
        raise Problem(403, "form-token", "This form is of another log-in: open its page again.")
    answer = page.go_to("")
    answer.delete_cookie(COOKIE, **_cookie_of(page))
    return answer


def _cookie_of(page: Page) -> dict[str, Any]:
    """Return where the cookie counts, and who may read it. A browser deletes it only where it was set."""
    path = str(page.request.scope.get("root_path", "")) or "/"
    return {"path": path, "secure": _is_secure(page), "httponly": True, "samesite": "strict"}


def _next(page: Page, given: str) -> str:
    """Return where to go after the log-in: a page of the console, never another site."""
    home = page.url("")
    plain = given.isascii() and given.isprintable() and "\\" not in given and len(given) < _MOST_NEXT_CHARS
    return given if plain and given.startswith(home) and not given.startswith("//") else home


def _is_secure(page: Page) -> bool:
    """Return whether the browser speaks TLS, to us or to a proxy before us."""
    return "https" in (page.request.url.scheme, page.request.headers.get("x-forwarded-proto", ""))


READS_LOG = False
ROUTES = (("/session", "GET", show), ("/session", "POST", log_in), ("/session/end", "POST", log_out))
