"""One run of a handler: the outcome names what the handler raised, and which payload fields do not fit."""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any, ClassVar

import pytest

from ampeco.models.fields import Id, Number, Text, Time
from ampeco.models.payload import Payload, VendorObject
from ampeco.notifications import DEFAULT_RULES
from eventlog.record import NO_TIME, StoredEvent
from handlers import Context, Event, FieldMisfit, GiveUp, Handler, Raw, Retry, Skip, SyncContext, handler
from workers.delivery.attempt import Attempt, Runtime, run
from workers.delivery.outcomes import Outcome


class Charge(VendorObject):
    id: Id
    status: Text
    energy: Number
    user_id: Text | None = None


class Update(Payload):
    notification_types: ClassVar[tuple[str, ...]] = ("SessionUpdateNotification",)

    session: Charge
    last_updated_at: Time = None


def ran(function: Any) -> str:
    """Where its only attempt failed."""
    return came_of(handler("h", on=["*"], max_attempts=1)(function), {"notification": "t"})[0].trace


def came_of(handler: Handler, data: Any, marks: tuple[str, ...] = ()) -> tuple[Outcome, Attempt]:
    """What its attempt at an event came to."""
    body, notification = json.dumps(data).encode(), data.get("notification", "")
    stored = StoredEvent(0, "1-0", notification, DEFAULT_RULES.key(notification, data), body, 0, marks=marks)

    def unused() -> None:
        raise AssertionError

    attempt = Attempt(stored, 1, 0.0, lambda: True, unused, unused)  # type: ignore[arg-type]
    with ThreadPoolExecutor(1) as threads:
        return asyncio.run(run(Runtime(handler, "v1", threads=threads), attempt)), attempt


def update(session: Any, **fields: Any) -> dict[str, Any]:
    return {"notification": "SessionUpdateNotification", "session": session, **fields}


ODD = {"id": 4711, "status": "active", "energy": "12,5", "userId": {}}


@pytest.mark.parametrize("waits", [True, False])
def test_an_error_that_was_dealt_with_is_not_the_cause_of_the_next(waits):
    async def fails(event: Event[Raw], ctx: Context) -> None:
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        if waits:
            loop.call_soon(future.set_exception, KeyError())
        else:
            future.set_exception(KeyError())
        try:
            await future
        except KeyError:
            pass
        raise ValueError

    assert ran(fails).splitlines()[0] == "ValueError"


def test_a_handler_that_does_not_read_what_does_not_fit_runs():
    seen: list[Any] = []

    async def reads(event: Event[Update], ctx: Context) -> None:
        session = event.payload.session
        seen.extend([session.id, session.status, session.user_id, event.misfits, event.key])
        seen.append(event.payload.raw_value("session.energy"))

    outcome, attempt = came_of(handler("h")(reads), update(ODD, lastUpdatedAt="soon"))
    misfits = ("session.energy", "session.userId", "lastUpdatedAt")
    assert outcome.kind == "done"
    assert seen == ["4711", "active", None, misfits, "session:4711", "12,5"]
    assert attempt.misfits == misfits


def test_nothing_is_a_misfit_where_all_fits():
    seen: list[Any] = []

    async def reads(event: Event[Update], ctx: Context) -> None:
        seen.extend([event.misfits, event.payload.session.energy, event.payload.exact("session.energy")])

    outcome, attempt = came_of(handler("h")(reads), update({**ODD, "energy": "12.50", "userId": 7}))
    assert (outcome.kind, attempt.misfits) == ("done", ())
    assert [str(each) for each in seen] == ["()", "12.5", "12.50"]


async def _reads(event: Event[Update], ctx: Context) -> None:
    raise AssertionError(event.payload.session.energy)


async def _reads_in_a_group(event: Event[Update], ctx: Context) -> None:
    async def one() -> None:
        _ = event.payload.session.energy

    async with asyncio.TaskGroup() as group:
        group.create_task(one())
        group.create_task(asyncio.sleep(0))


async def _reads_and_raises_from_it(event: Event[Update], ctx: Context) -> None:
    try:
        _ = event.payload.session.energy
    except FieldMisfit as error:
        raise RuntimeError("4111 1111") from error


def _reads_in_a_thread(event: Event[Update], ctx: SyncContext) -> None:
    _ = event.payload.session.energy


async def _unused(event: Event[Update], ctx: Context) -> None:
    raise AssertionError


def _charges(event: Event[Update]) -> bool:
    return event.payload.session.energy > 1


@pytest.mark.parametrize(
    "declared",
    [
        handler("h")(_reads),
        handler("h")(_reads_in_a_group),
        handler("h")(_reads_and_raises_from_it),
        handler("h")(_reads_in_a_thread),
        handler("h", where=_charges)(_unused),
    ],
    ids=["handler", "group", "cause", "thread", "where"],
)
def test_reading_a_required_field_that_does_not_fit_ends_the_delivery(declared):
    outcome, attempt = came_of(declared, update(ODD))
    assert (outcome.kind, outcome.reason, outcome.detail) == ("dead", "payload-mismatch", "session.energy")
    assert "test_attempt.py" in outcome.trace
    assert "12,5" not in repr(outcome)
    assert "session.energy" in attempt.misfits


@pytest.mark.parametrize(
    ("error", "reason"), [(Skip("x"), "skipped"), (Retry("x"), "retry-asked"), (GiveUp("x"), "gave-up")]
)
def test_what_the_author_says_of_a_misfit_counts(error, reason):
    async def reads(event: Event[Update], ctx: Context) -> None:
        try:
            _ = event.payload.session.energy
        except FieldMisfit as misfit:
            raise error from misfit

    assert came_of(handler("h")(reads), update(ODD))[0].reason == reason


def test_an_error_while_a_misfit_is_handled_is_an_error_of_its_own():
    async def reads(event: Event[Update], ctx: Context) -> None:
        try:
            _ = event.payload.session.energy
        except FieldMisfit:
            raise OSError  # noqa: B904 - not from it, on purpose

    assert came_of(handler("h")(reads), update(ODD))[0].kind == "retry"


def test_a_strict_handler_is_not_called_for_any_misfit():
    outcome, attempt = came_of(handler("h", strict=True)(_unused), update({**ODD, "energy": 1}))
    assert (outcome.kind, outcome.reason) == ("dead", "payload-mismatch")
    assert outcome.detail == "does not fit Update: session.userId"
    assert attempt.misfits == ("session.userId",)


def test_many_misfits_are_counted_and_not_all_named():
    fields = {"notification": "SessionUpdateNotification", "sessionId": 7, "session": {}, "lastUpdatedAt": []}
    outcome, _ = came_of(handler("h", strict=True)(_unused), fields)
    assert outcome.detail == "does not fit Update: session.id, session.status, session.energy, lastUpdatedAt"

    class Wide(Payload):
        notification_types: ClassVar[tuple[str, ...]] = ("wide",)
        a1: Text
        a2: Text
        a3: Text
        a4: Text
        a5: Text
        a6: Text
        a7: Text

    async def takes(event: Event[Any], ctx: Context) -> None: ...

    takes.__annotations__["event"] = Event[Wide]
    outcome, _ = came_of(handler("h", strict=True)(takes), {"notification": "wide"})
    assert outcome.detail == "does not fit Wide: a1, a2, a3, a4, a5 and 2 more"


@pytest.mark.parametrize(
    "session",
    [None, [], "", {}, {"id": 0}, {"id": -1}, {"id": "9223372036854775807"}, {"id": None}, {"id": []}],
)
def test_without_an_identity_the_delivery_is_dead(session):
    outcome, _ = came_of(handler("h")(_unused), update(session))
    assert (outcome.kind, outcome.reason) == ("dead", "payload-mismatch")
    assert "session" in outcome.detail


def test_where_another_entity_is_the_key_the_id_that_means_none_costs_only_itself():
    seen: list[Any] = []

    async def reads(event: Event[Update], ctx: Context) -> None:
        seen.append((event.key, event.payload.session.status))
        _ = event.payload.session.id

    outcome, _ = came_of(handler("h")(reads), update({"id": 0, "chargePointId": 12, "status": "active"}))
    assert seen == [("charge-point:12", "active")]
    assert (outcome.reason, outcome.detail) == ("payload-mismatch", "session.id")


def test_the_mark_of_an_older_record_changes_nothing():
    async def takes(event: Event[Update], ctx: Context) -> None:
        assert (event.misfits, event.maybe_repeat) == ((), True)

    fits = update({"id": 1, "status": "x", "energy": 1})
    assert came_of(handler("h")(takes), fits, marks=("misfit", "maybe_repeat"))[0].kind == "done"


def test_a_raw_event_has_no_misfits():
    async def takes(event: Event[Raw], ctx: Context) -> None:
        assert (event.misfits, event.payload.data["session"]["energy"]) == ((), "12,5")

    assert came_of(handler("h", on=["*"], strict=True)(takes), update(ODD))[0].kind == "done"


@pytest.mark.parametrize("at_us", [None, NO_TIME, 1_764_000_000_123_456])
def test_an_event_has_the_stored_time_and_only_in_older_records_the_one_that_is_found_now(at_us: int | None):
    body = json.dumps(update({"id": 1, "lastUpdatedAt": "2026-01-02T00:00:00Z"})).encode()
    arrived_ms = 1_767_398_400_000  # 2026-01-03
    stored = StoredEvent(
        0, "1-0", "SessionUpdateNotification", "session:1", body, arrived_ms, occurred_at_us=at_us
    )
    seen: list[Event[Raw]] = []

    async def takes(event: Event[Raw], ctx: Context) -> None:
        seen.append(event)

    def unused() -> None:
        raise AssertionError

    attempt = Attempt(stored, 1, 0.0, lambda: True, unused, unused)  # type: ignore[arg-type]
    with ThreadPoolExecutor(1) as threads:
        asyncio.run(run(Runtime(handler("h", on=["*"])(takes), "v1", threads=threads), attempt))
    found = datetime(2026, 1, 2, tzinfo=UTC) if at_us is None else stored.occurred_at
    assert [(event.occurred_at, event.received_at) for event in seen] == [(found, stored.received_at)]
