"""Changes by hand: who may make them, and that each is written down, refused ones too."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

from redis.exceptions import RedisError
from starlette.responses import Response

from console.page import Endpoint, Page, Problem
from eventlog.audit import Act, take_back, write
from eventlog.errors import LogError

FORM_TOKEN = "form_token"  # noqa: S105 - the name of a field

_VIA = "console"


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
                await _refused(page, what, "no-right")
                raise Problem(403, "no-right", "Log in with the token for acting first. Nothing was changed.")
            try:
                form = await page.form()
            except Problem as problem:
                await _refused(page, what, problem.reason)
                raise
            if not page.console.sessions.is_form_token(page.session, form.get(FORM_TOKEN, "")):
                await _refused(page, what, "form-token")
                raise Problem(
                    403,
                    "form-token",
                    "This form is of another log-in: open its page again. Nothing was changed.",
                )
            return await change(page, form)

        return endpoint

    return made


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
    name = page.session.name if page.session else ""
    written = await write(page.log, Act(name, page.address, _VIA, what, plan, count))
    try:
        yield
    except LogError:  # nothing was changed
        await take_back(page.log, written)
        raise


async def _refused(page: Page, what: str, reason: str) -> None:
    """Write a refused act down; only some a minute, so that they cannot push real acts out of the audit."""
    if not page.console.refusals.is_open(page.address):
        return
    page.console.refusals.failed(page.address)
    name = page.session.name if page.session else ""
    plan = {"refused": reason, **page.request.path_params}
    with contextlib.suppress(RedisError, OSError):  # the refusal counts, with or without its line
        await write(page.log, Act(name, page.address, _VIA, f"{what} (refused)", plan))
