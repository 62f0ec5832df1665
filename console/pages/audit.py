"""The audit: what operators changed by hand, newest first, and refused acts."""

from __future__ import annotations

import json
from typing import Any

from starlette.responses import Response

from console.page import Page, Problem
from eventlog.audit import newest
from eventlog.ids import STREAM_ID

NAV = ("audit", "Audit")

_ROWS = 40


async def show(page: Page) -> Response:
    """Show a page of acts. The query has `before`."""
    before = page.asked("before")
    if before and not STREAM_ID.fullmatch(before):
        raise Problem(400, "no-act-id", "before is not an id of an act.")
    found = await newest(page.log, limit=_ROWS + 1, before=before or None)
    shown = found[:_ROWS]
    return page.show(
        "audit.html",
        acts=[(act, " ".join(f"{name}={_text(value)}" for name, value in act.plan.items())) for act in shown],
        older=shown[-1].id if len(found) > _ROWS else "",
        is_first=not before,
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


ROUTES = (("/audit", "GET", show),)
