"""Changes by hand: checks the right to make them, and records each one in the audit, refused ones too."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl

from redis.exceptions import RedisError
from starlette.responses import Response

from console.page import Endpoint, Page, Problem
from console.sessions import Session
from eventlog.audit import take_back, write
from eventlog.errors import LogError

FORM_TOKEN = "form_token"  # noqa: S105 - the name of a field


def act(what: str) -> Callable[[Callable[[Page, Mapping[str, str]], Awaitable[Response]]], Endpoint]:
    """Make a page of a function that changes something: it gets the page and the form.

    The function runs only for a session with the right to act, and for a form of that session. Otherwise the answer
    is 403, and the audit has a line.

    Args:
        what: the act as the audit names it, the same as of the command.
    """

    def made(change: Callable[[Page, Mapping[str, str]], Awaitable[Response]]) -> Endpoint:
        async def endpoint(page: Page) -> Response:
            if page.session is None or not page.may_act:
                await refused(page, what, "no-right")
                raise Problem(403, "no-right", "Log in with the token for acting first. Nothing was changed.")
            try:
                form = await page.form()
            except Problem as problem:
                await refused(page, what, problem.reason)
                raise
            if not page.console.sessions.is_form_token(page.session, form.get(FORM_TOKEN, "")):
                await refused(page, what, "form-token")
                raise Problem(
                    403,
                    "form-token",
                    "This form is of another log-in: open its page again. Nothing was changed.",
                )
            return await change(page, form)

        return endpoint

    return made


def selection_of(form: Mapping[str, str], names: Sequence[str], *, needs: Sequence[str]) -> dict[str, str]:
    """Return the selection in the form of a plan; a missing name is empty.

    Raises:
        Problem: a field is missing that every plan gives, so no plan was shown.
    """
    try:
        sent = dict(parse_qsl(form.get("selection", ""), max_num_fields=len(names)))
    except ValueError:
        sent = {}
    if not all(sent.get(name) for name in needs):
        raise Problem(400, "no-plan", "Open the plan first. Nothing was changed.")
    return {name: sent.get(name, "") for name in names}


@contextlib.asynccontextmanager
async def acting(
    page: Page, what: str, plan: Mapping[str, Any], count: int | None = None
) -> AsyncIterator[None]:
    """Carry out an act in this block. It is written down first, and not kept if the log refuses it.

    Args:
        what: as the command, e.g. `dead retry`.
        plan: what was selected, as it was asked for.
        count: how many it is about.
    """
    written = await write(page.log, page.act(what, plan, count))
    try:
        yield
    except LogError:  # nothing was changed
        await take_back(page.log, written)
        raise


async def refused(page: Page, what: str, reason: str) -> None:
    """Record a refused act; only some a minute, so that they cannot push real acts out of the audit."""
    if not page.console.refusals.is_open(page.address):
        return
    page.console.refusals.failed(page.address)
    await noted(page, page.session, f"{what} (refused)", {"refused": reason, **page.request.path_params})


async def noted(page: Page, session: Session | None, what: str, plan: Mapping[str, Any]) -> None:
    """Record an act that changes nothing in the log, such as a log-in. It goes on even if Redis is away."""
    with contextlib.suppress(RedisError, OSError):
        await write(page.log, page.act(what, plan, session=session))
