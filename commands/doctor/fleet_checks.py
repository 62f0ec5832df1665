"""Checks of the workers: are all handlers served, by one version of the code, and does RQ wake them?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from commands.doctor.finding import Finding, fault, ok, warn
from commands.spans import counted
from commands.type_names import misspelled_handlers
from eventlog.clock import now_ms

if TYPE_CHECKING:
    from commands.doctor.deployment import Deployment

_SHOWN = 5
_MANY_WAKE_UPS = 100


async def handlers(about: Deployment) -> Finding:
    """Are handlers registered, and does a live worker serve each of them?"""
    from eventlog.handler_faults import faulty_by_name
    from eventlog.inspection.fleet import awake, rq_queues
    from eventlog.inspection.serving import is_served
    from eventlog.operation.handlers import pauses
    from eventlog.presence import served_names

    if faulty := faulty_by_name(await about.processes()):
        named = "; ".join(f"{name}: {one.fault.text}" for name, one in list(faulty.items())[:_SHOWN])
        more = f"; and {len(faulty) - _SHOWN} more" if len(faulty) > _SHOWN else ""
        fix = "set what is missing or fix the plugin; `handlers list` says when it is tried again"
        served = {name for process in await about.processes() for name in process.parts}
        judge = warn if faulty.keys() <= served else fault  # other workers run them
        return judge(f"faulty: {named}{more}", fix)
    registered = await about.handlers()
    if not registered:
        return warn("none is registered: no worker has ever started", "start a worker with your plugins")
    serving = served_names(await about.processes())
    queues = awake(await rq_queues(await about.log()))
    paused = await pauses(await about.log())
    without = [one for one in registered if not is_served(one, serving, queues)]
    if without:
        waiting = sum(one.waiting + one.open for one in without)
        return fault(
            f"no live worker serves {_some([one.name for one in without])}; waiting: {counted(waiting, 'event')}",
            "start a worker that has its plugin and serves its queue, or `handlers retire` it",
        )
    dead = sum(one.dead for one in registered)
    what = f"{len(registered)} served"
    if doubts := misspelled_handlers(about.settings, (one.name for one in registered)):
        return warn(f"{what}; {'; '.join(doubts)}", "correct the name in the setting")
    if paused:
        return warn(
            f"{what}; paused: {_some(sorted(paused))}", "`handlers resume NAME` when the reason is gone"
        )
    if dead:
        return warn(
            f"{what}; {counted(dead, 'dead letter')}",
            "`dead list` shows why; then `dead retry` or `dead discard`",
        )
    return ok(what)


async def versions(about: Deployment) -> Finding:
    """Does all of the fleet run the same code?"""
    from eventlog.inspection.fleet import mixed, versions_now

    found = await versions_now(await about.log(), now_ms())
    several = mixed(found)
    releases = sorted({process.release for process in await about.processes() if process.release})
    if len(releases) > 1:
        return warn(f"workers run the releases {', '.join(releases)}", "finish the rollout")
    if several:
        named = "; ".join(f"{name}: {', '.join(those)}" for name, those in list(several.items())[:_SHOWN])
        return warn(
            f"several versions of {counted(len(several), 'handler')}: {named}",
            "finish the rollout, or wait 3 minutes",
        )
    return ok(f"one version of each handler{f', release {releases[0]}' if releases else ''}")


async def rq(about: Deployment) -> Finding:
    """Does each queue have an RQ worker, and are its wake-ups taken?"""
    from eventlog.inspection.fleet import rq_queues

    queues = await rq_queues(await about.log())
    if not queues:
        return ok("no queue yet: no worker has ever started")
    if without := [queue.name for queue in queues if not queue.workers]:
        return fault(f"no RQ worker for {_some(without)}", "start `ampeco-receiver worker --queue NAME`")
    if full := [queue.name for queue in queues if queue.waiting > _MANY_WAKE_UPS]:
        return warn(f"many wake-ups wait in {_some(full)}", "look at the log of its workers")
    workers, waiting = (sum(counts) for counts in zip(*((q.workers, q.waiting) for q in queues), strict=True))
    return ok(
        f"{counted(len(queues), 'queue')}, {counted(workers, 'worker')}, {counted(waiting, 'wake-up')} to be taken"
    )


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
