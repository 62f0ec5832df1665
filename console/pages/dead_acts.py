"""Retrying or discarding dead letters: first the plan, then the act, page by page in the background.

The form has the ids of the first and the last letter of the plan. So a letter that fails again meanwhile is not taken
a second time.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict, replace
from functools import partial
from typing import Final

from starlette.responses import Response

from console.acts import act, selection_of
from console.background import begin
from console.page import Page, Problem
from console.plan import Plan
from eventlog.ids import STREAM_ID
from eventlog.inspection.dead_groups import LOOKS, Sample, Selected, ids, scan
from eventlog.log import EventLog
from eventlog.operation.dead_letters import discard, retry, unread
from eventlog.operation.handlers import pauses, unknown_handler
from eventlog.record import id_order
from eventlog.registry import handler_names

MOST: Final = 20_000  # letters of one act

_RETRY, _DISCARD = "dead retry", "dead discard"
_NAMES = ("handler", "reason", "place", "type", "key", "first", "last")
_SCANS, _LOOKS = 10, LOOKS
_SCAN_S = 1.0  # of the time that a page has
_BATCH = 64
_SAMPLES = 5
_WORDS = {
    "put": "run again",
    "open": "open already",
    "waiting": "not settled yet",
    "gone": "gone already",
    "full": "no room now: try these again later",
    "unreadable": "written by another version",
}
_COSTS = {
    "retry": (
        "Each runs again with all its attempts, in order of arrival, after events of its entity that ran since.",
        "The results of its once-only steps are used again while they are kept.",
    ),
    "discard": ("They are deleted with their bodies. The handler's history keeps that they were dead.",),
}


async def plan(page: Page, *, verb: str) -> Response:
    """Show what would be retried or discarded."""
    asked = await _checked(page.log, {name: page.asked(name) for name in _NAMES})
    selected, looked, reasons, samples, is_complete = await _counted(page.log, asked)
    count = reasons.total()
    facts: list[tuple[str, object]] = [("Letters", count)]
    facts += [(name.capitalize(), getattr(asked, name)) for name in _NAMES[:5] if getattr(asked, name)]
    facts += [(reason, n) for reason, n in reasons.most_common(10) if not asked.reason and n != count]
    sentences = [*_COSTS[verb]]
    if asked.handler in await pauses(page.log):
        sentences.append(f"{asked.handler} is paused: they run once it is resumed.")
    if not is_complete:
        sentences.append(
            f"These are the ones among the newest {looked:,} letters; older ones need another act."
        )
    return page.show(
        "plan.html",
        plan=Plan(
            f"{verb.capitalize()} dead letters of {asked.handler}",
            f"dead/{verb}",
            f"{verb.capitalize()} {count:,} {'letter' if count == 1 else 'letters'}",
            "dead",
            facts,
            sentences if count else (),
            asdict(selected),
            [(one.key or one.type, f"dead/{asked.handler}/{one.stream_id}") for one in samples],
            deletes=verb == "discard",
            is_empty=not count,
        ),
    )


@act(_RETRY)
async def retry_all(page: Page, form: Mapping[str, str]) -> Response:
    """Retry the letters of a plan."""
    return await _begin(page, form, "retry")


@act(_DISCARD)
async def discard_all(page: Page, form: Mapping[str, str]) -> Response:
    """Discard the letters of a plan."""
    return await _begin(page, form, "discard")


async def _begin(page: Page, form: Mapping[str, str], verb: str) -> Response:
    selected = await _checked(page.log, selection_of(form, _NAMES, needs=("first", "last")))
    found = await ids(page.log, selected, most=MOST)
    if not found:
        raise Problem(409, "nothing-to-do", "None of these letters is there any more. Nothing was changed.")
    return await begin(
        page,
        f"dead {verb}",
        asdict(selected),
        len(found),
        lambda written: _work(page.log, selected.handler, found, verb, written),
        title=f"{verb.capitalize()} dead letters of {selected.handler}",
        back="dead",
        is_counted=True,
    )


async def _work(
    log: EventLog, handler: str, found: list[tuple[str, str]], verb: str, act_id: str
) -> AsyncIterator[Mapping[str, int]]:
    """Carry out the act in order of arrival per entity, as the command does."""
    entries = sorted((unread(handler, *each) for each in found), key=lambda entry: entry.place)
    done: Counter[str] = Counter()
    for at in range(0, len(entries), _BATCH):
        some = entries[at : at + _BATCH]
        if verb == "retry":
            answers = await retry(log, some, act=act_id)
            done.update({_WORDS.get(answer, answer): n for answer, n in answers.items()})
        else:
            discarded = await discard(log, some, act=act_id)
            done.update({"discarded": discarded, "gone already": len(some) - discarded})
        yield dict(done)


async def _checked(log: EventLog, asked: Mapping[str, str]) -> Selected:
    for name in ("first", "last"):
        if asked[name] and not STREAM_ID.fullmatch(asked[name]):
            raise Problem(400, "no-letter-id", f"{name} is not an id of a dead letter.")
    if asked["handler"] not in await handler_names(log):
        raise await unknown_handler(log, asked["handler"])
    return Selected(**asked)


async def _counted(log: EventLog, asked: Selected) -> tuple[Selected, int, Counter[str], list[Sample], bool]:
    """Count the selected letters.

    Returns:
        The selection with its ends, how many letters were read, how many fit by reason, the newest of them, and
        whether all were read.
    """
    samples: list[Sample] = []
    reasons: Counter[str] = Counter()
    looked, before, newest, is_complete = 0, "", "", False
    ends_s = asyncio.get_running_loop().time() + _SCAN_S
    for _ in range(_SCANS):
        found = await scan(log, asked, before=before, looks=_LOOKS, samples=_SAMPLES if not samples else 0)
        looked += found.looked
        for group in found.groups:
            reasons[group.reason or "(other)"] += group.count
            newest = newest or group.newest
            samples += group.samples
        before, is_complete = found.last or before, found.is_complete
        if is_complete or asyncio.get_running_loop().time() > ends_s:
            break
    selected = replace(asked, first=asked.first or before, last=asked.last or newest)
    samples.sort(key=lambda sample: id_order(sample.stream_id), reverse=True)
    return selected, looked, reasons, samples[:_SAMPLES], is_complete


# Only these two, since a handler may be called `plan`, and has letters.
ROUTES = (
    ("/dead/plan/retry", "GET", partial(plan, verb="retry")),
    ("/dead/plan/discard", "GET", partial(plan, verb="discard")),
    ("/dead/retry", "POST", retry_all),
    ("/dead/discard", "POST", discard_all),
)
