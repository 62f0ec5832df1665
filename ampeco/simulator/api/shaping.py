"""Gives an answer the documented status and shape; knows the contract and nothing of what is answered.

What the contract does not describe, because it is newer, is answered with 200 or 201 and `{"data": ...}`.
"""

from collections.abc import Callable
from typing import Any

from ampeco.contract import published
from ampeco.contract.merging import Schema
from ampeco.contract.published import Published
from ampeco.contract.values import completed
from ampeco.simulator.api.call import Answer, Call
from ampeco.simulator.switches import Habits

OK, CREATED = 200, 201
_UNPUBLISHED = Published(None, False, {}, frozenset(), None)


def documented(call: Call) -> Published:
    """What is published of the operation of a call."""
    return published.operation(call.operation.method, call.operation.path) or _UNPUBLISHED


def shaped(call: Call, habits: Habits, document: Any, *, created: bool = False) -> Answer:
    """Answer with this document, in its envelope where the contract has one.

    Args:
        document: what the contract does not allow in it is left out, what it requires is added.
        created: it was not there before.
    """
    answers = documented(call).answers
    status = _status(answers.keys(), created=created)
    if status not in answers:
        return Answer(_wished(habits, CREATED if created else OK), {"data": document})
    schema = answers[status]
    status = _wished(habits, status) if created else status
    if schema is None:
        return Answer(status)
    return Answer(status, completed(schema, {"data": document} if _is_wrapped(schema) else document))


def empty(call: Call) -> Answer:
    """Answer that something is done, without saying more where the contract says no more."""
    answers = documented(call).answers
    status = min(answers, default=204)
    schema = answers.get(status)
    return Answer(status, None if schema is None else completed(schema, {}))


def entry_schema(call: Call) -> Schema | None:
    """What one entry of the listing that a call asks for looks like; None when it asks for no listing."""
    schema: Schema = documented(call).answers.get(OK) or {}
    found = schema["properties"]["data"] if _is_wrapped(schema) else schema
    items: Schema | None = found.get("items")
    return items


def is_unpublished_listing(call: Call) -> bool:
    """Whether it asks for a listing that the contract does not describe."""
    return not documented(call).answers and call.operation.name.endswith(".list")


def is_paged(call: Call) -> bool:
    """Whether the listing that a call asks for has `links` and `meta`."""
    return "meta" in (documented(call).answers.get(OK) or {}).get("properties", {})


def as_entry(schema: Schema, show: Callable[[str], Any]) -> Callable[[str], Any]:
    """The same as `show`, completed to what an entry of the listing looks like."""
    return lambda id_: completed(schema, show(id_))


def _status(known: Any, *, created: bool) -> int:
    if created and CREATED in known:
        return CREATED
    return min(known, default=0)


def _wished(habits: Habits, status: int) -> int:
    return habits.created_status or status if status == CREATED else status


def _is_wrapped(schema: Schema) -> bool:
    return "data" in schema.get("properties", {})
