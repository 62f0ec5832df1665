"""The progress of an act. The page reloads itself while the act runs, also without JavaScript."""

from __future__ import annotations

from starlette.responses import Response

from console.page import Page
from console.running import Job
from eventlog.audit import Act, by_id
from eventlog.errors import UnknownName

_RELOAD_S = 1
_RELOADS_MS = 600_000  # for so long an act of another process is followed


async def show(page: Page) -> Response:
    """Show how far an act is. An act of another process is known from the audit alone."""
    act_id = str(page.request.path_params["id"])[:60]
    act = await by_id(page.log, act_id)
    job = known = page.console.running.job(act_id)
    if job is None:
        if act is None:
            raise UnknownName("no act with this id is in the audit, or the log refused it")
        job = _elsewhere(act)
        follows = job.state == "running" and page.now_ms - act.at_ms < _RELOADS_MS
    else:
        follows = job.state == "running"
    answer = page.show("progress.html", job=job, act=act, is_here=known is not None)
    if follows:
        answer.headers["Refresh"] = str(_RELOAD_S)
    return answer


def _elsewhere(act: Act) -> Job:
    done = act.done or 0
    job = Job(act.id, act.what, act.count, "audit", "done", {} if act.done is None else {"changed": done})
    if act.done is not None and act.count is not None and done < act.count:
        job.state = "running"
    return job


ROUTES = (("/acts/{id}", "GET", show),)
