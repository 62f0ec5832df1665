"""Replaying a handler's kept events: the selection, the plan, then the act in the background."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Final

from starlette.responses import Response

from console.acts import act, selection_of
from console.background import begin
from console.page import Page, Problem
from console.plan import Plan
from eventlog.clock import rfc3339
from eventlog.errors import ChangeRefused
from eventlog.internal import is_wanted
from eventlog.log import EventLog
from eventlog.operation.handlers import position_of
from eventlog.operation.replay import Replay, feed, forget, unfinished
from eventlog.operation.replay import begin as begin_replay
from eventlog.operation.selection import Selection, Survey, survey, types_to_replay
from eventlog.registry import HandlerPosition

LOOKS: Final = 2_000  # events that a plan may read
PATIENCE_S: Final = 60.0

_REPLAY = "handlers replay"
_NAMES = ("from", "to", "type", "key", "repeat")


async def show(page: Page) -> Response:
    """Show the form, and the plan once a time is chosen."""
    position = await _position(page)
    name = position.name
    query = {each: page.asked(each) for each in _NAMES}
    begun = await unfinished(page.log, name)
    if not query["from"]:
        return page.show("replay.html", position=position, query=query, begun=begun)
    selection = _selection(page, position, query)
    found = await survey(page.log, selection, looks=LOOKS)
    _refuse_beyond_the_ledger(page, selection, found, repeat=bool(query["repeat"]))
    return page.show("plan.html", plan=_plan(selection, found, query))


@act(_REPLAY)
async def replay(page: Page, form: Mapping[str, str]) -> Response:
    """Replay the selection of a plan."""
    position = await _position(page)
    query = selection_of(form, _NAMES, needs=("from", "to"))
    selection = _selection(page, position, query)
    found = await survey(page.log, selection, looks=LOOKS)
    _refuse_beyond_the_ledger(page, selection, found, repeat=bool(query["repeat"]))
    if not found.total and found.is_complete:
        raise Problem(409, "nothing-to-do", "None of these events is kept any more. Nothing was changed.")
    if await unfinished(page.log, position.name) is not None:
        raise ChangeRefused(
            f"an earlier replay of {position.name} was not finished: go on with it, or drop it"
        )
    return await begin(
        page,
        _REPLAY,
        selection.document(),
        found.total if found.is_complete else None,
        lambda written: _work(page.log, selection, page.now_ms, written),
        title=f"Replay events of {position.name}",
        back=f"handlers/{position.name}",
        is_counted=True,
    )


@act(_REPLAY)
async def go_on(page: Page, _: Mapping[str, str]) -> Response:
    """Continue an unfinished replay."""
    begun = await _begun(page)
    name = begun.selection.handler
    return await begin(
        page,
        _REPLAY,
        {"handler": name, "continue": True},
        None,
        lambda written: _feed(page.log, begun, written),
        title=f"Replay events of {name}",
        back=f"handlers/{name}",
        is_counted=True,
    )


@act(_REPLAY)
async def drop(page: Page, _: Mapping[str, str]) -> Response:
    """Drop the rest of an unfinished replay. Events already queued will still run."""
    begun = await _begun(page)
    name = begun.selection.handler

    async def work() -> AsyncIterator[Mapping[str, int]]:
        yield {"dropped": int(await forget(page.log, name))}

    return await begin(
        page,
        _REPLAY,
        {"handler": name, "forget": True},
        None,
        lambda _: work(),
        title=f"Drop the replay of {name}",
        back=f"handlers/{name}",
    )


async def _work(
    log: EventLog, selection: Selection, now_ms: int, act_id: str
) -> AsyncIterator[Mapping[str, int]]:
    begun = await begin_replay(log, selection, now_ms=now_ms)
    async for done in _feed(log, begun, act_id):
        yield done


async def _feed(log: EventLog, begun: Replay, act_id: str) -> AsyncIterator[Mapping[str, int]]:
    async for fed in feed(log, begun, patience_s=PATIENCE_S, act=act_id):
        yield {"run again": fed.put, "open already": fed.open, "not settled yet": fed.waiting}


def _plan(selection: Selection, found: Survey, query: Mapping[str, str]) -> Plan:
    name = selection.handler
    at_least = "" if found.is_complete else "at least "
    facts: list[tuple[str, object]] = [
        ("Events", f"{at_least}{found.total:,}"),
        ("Arrived", f"{rfc3339(selection.from_ms)} to {rfc3339(selection.to_ms)}"),
        *([("Entity", selection.key)] if selection.key else []),
        *((type_name, count) for type_name, count in list(found.by_type.items())[:20]),
    ]
    sentences = [
        "Replayed events run after the events that ran since; they keep their own order.",
        "Events that are not settled yet are left alone. Dead letters of replayed events are removed.",
    ]
    if not found.is_complete:
        sentences.append(f"{found.looked:,} events were read to count them. The replay takes all that fit.")
    if query["repeat"]:
        sentences.append("Once-only steps of events that old may be called again.")
    fields = {**query, "from": rfc3339(selection.from_ms), "to": rfc3339(selection.to_ms)}
    return Plan(
        f"Replay events of {name}",
        f"handlers/{name}/replay",
        f"Replay {at_least}{found.total:,} {'event' if found.total == 1 else 'events'}",
        f"handlers/{name}/replay",
        facts,
        sentences,
        fields,
        is_empty=not found.total and found.is_complete,
    )


def _selection(page: Page, position: HandlerPosition, query: Mapping[str, str]) -> Selection:
    type_ = query["type"]
    if type_ and not is_wanted(set(position.types), type_):
        raise Problem(400, "not-wanted", f"{position.name} does not want {type_[:100]}.")
    from_ms, to_ms = page.moment_ms("from", query["from"]), page.moment_ms("to", query["to"] or "0s ago")
    return Selection(
        position.name,
        from_ms,
        to_ms,
        types_to_replay(position.types, [type_] if type_ else ()),
        query["key"] or None,
    )


def _refuse_beyond_the_ledger(page: Page, selection: Selection, found: Survey, *, repeat: bool) -> None:
    oldest_ms = page.now_ms - page.log.ledger_ms
    first_ms = found.first_ms if found.is_complete else selection.from_ms
    if not repeat and first_ms is not None and first_ms < oldest_ms:
        raise ChangeRefused(
            f"once-only steps are known since {rfc3339(oldest_ms)} only and may be called again for earlier events; "
            "choose a later time, or allow it"
        )


async def _begun(page: Page) -> Replay:
    position = await _position(page)
    begun = await unfinished(page.log, position.name)
    if begun is None:
        raise ChangeRefused(f"no replay of {position.name} is unfinished")
    return begun


async def _position(page: Page) -> HandlerPosition:
    return await position_of(page.log, str(page.request.path_params["name"])[:100], measure=False)


ROUTES = (
    ("/handlers/{name}/replay", "GET", show),
    ("/handlers/{name}/replay", "POST", replay),
    ("/handlers/{name}/replay/continue", "POST", go_on),
    ("/handlers/{name}/replay/forget", "POST", drop),
)
