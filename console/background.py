"""Begins an act that may take long: records it, runs it, and leads to a page that shows how far it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from starlette.responses import Response

from console.page import Page, Problem
from console.running import Job, Work
from eventlog.audit import take_back, write

_PATIENCE_S = 0.4


async def begin(
    page: Page,
    what: str,
    plan: Mapping[str, Any],
    count: int | None,
    work: Callable[[str], Work],
    *,
    title: str,
    back: str,
    is_counted: bool = False,
) -> Response:
    """Begin an act, and lead to its page.

    Args:
        what: as the command, e.g. `dead retry`.
        plan: what was selected, as it was asked for.
        count: how many it is about.
        work: carries it out, given the id of its line in the audit.
        title, back: of its page; the path of the page to go on with.
        is_counted: each change counts in the audit.

    Raises:
        Problem: too many acts run.
    """
    running = page.console.running
    if running.is_full:
        raise Problem(
            503, "too-many-acts", "Too many acts run now. Wait until one ends. Nothing was changed."
        )
    written = await write(page.log, page.act(what, plan, count), is_counted=is_counted)

    async def refused() -> None:
        await take_back(page.log, written)

    await running.begin(Job(written, title, count, back), work(written), refused, patience_s=_PATIENCE_S)
    return page.go_to(f"acts/{written}")
