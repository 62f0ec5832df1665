"""Answers calls of resources and logs: every endpoint of the table, over one store of plain documents."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

from ampeco.operations import VERSIONS, Operation
from ampeco.simulator.api import body_checks
from ampeco.simulator.api.call import Answer, Call
from ampeco.simulator.api.paging import page
from ampeco.simulator.api.shaping import (
    as_entry,
    empty,
    entry_schema,
    is_paged,
    is_unpublished_listing,
    shaped,
)
from ampeco.simulator.fleet.charging import moment
from ampeco.simulator.model import Refused
from ampeco.simulator.store import Document, Path, Store
from ampeco.simulator.tenant import Tenant

_FILTER = re.compile(r"filter\[(\w+)\](\[\])?")
_SINCE = re.compile(r"(?P<name>\w+?)(?P<word>After|Before)")
_LISTED = frozenset(operation.path for operation in VERSIONS.values() if operation.name.endswith(".list"))


class ResourceApi:
    """Resources and logs."""

    def __init__(self, tenant: Tenant, store: Store) -> None:
        self._tenant = tenant
        self._store = store

    def answer(self, call: Call) -> Answer:
        """
        Raises:
            Refused: 404 or 422.
        """
        operation = call.operation
        path = _path(operation, call.params)
        self._store.check_owners(path)
        if operation.method == "GET" and (entry_schema(call) or is_unpublished_listing(call)):
            return self._many(call, path)
        if operation.method == "POST" and operation.path in _LISTED:
            made = self._store.create(path, self._written(call))
            return shaped(call, self._tenant.habits, made, created=True)
        if operation.path.endswith("}"):
            return self._one(call, path[:-1], path[-1])
        return self._single(call, path)

    def _many(self, call: Call, path: Path) -> Answer:
        ids, show, schema = self._store.ids(path), partial(self._store.read, path), entry_schema(call)
        if schema is not None and not is_paged(call):
            return shaped(call, self._tenant.habits, [show(id_) for id_ in ids])
        wanted = _filters(call)
        fits = partial(_fits, wanted) if wanted else None
        shown = show if schema is None else as_entry(schema, show)
        return Answer(200, page(call, self._tenant.habits, ids, shown, fits))

    def _one(self, call: Call, path: Path, id_: str) -> Answer:
        habits = self._tenant.habits
        match call.operation.method:
            case "GET":
                return shaped(call, habits, self._store.read(path, id_))
            case "DELETE":
                self._store.delete(path, id_)
                return empty(call)
        is_new, replaces = not self._store.has(path, id_), call.operation.method == "PUT"
        changed = self._store.update(path, id_, self._written(call), replaces=replaces)
        return shaped(call, habits, changed, created=is_new)

    def _single(self, call: Call, path: Path) -> Answer:
        habits, method = self._tenant.habits, call.operation.method
        match method:
            case "GET":
                return shaped(call, habits, self._store.single(path))
            case "DELETE":
                self._store.set_single(path, None)
                return empty(call)
        body = self._checked(call)
        self._store.set_single(path, body)
        return shaped(call, habits, body, created=method == "POST")

    def _written(self, call: Call) -> Document:
        body = self._checked(call)
        if not isinstance(body, dict):
            raise Refused(422, "The body must be a JSON object.")
        return {**body, "lastUpdatedAt": moment(self._tenant.now())}

    def _checked(self, call: Call) -> Any:
        body = call.body_or_none()
        if self._tenant.habits.strict_bodies:
            body_checks.check(call, body)
        return {} if body is None else body


def _path(operation: Operation, params: Mapping[str, str]) -> Path:
    """Nouns and ids: `/public-api/resources/users/v1.1/{user}/notes` -> ("users", "5001", "notes")."""
    _, kind, noun, _, *rest = operation.path.strip("/").split("/")
    first = noun if kind == "resources" else f"{kind}/{noun}"
    return (first, *(params[part[1:-1]] if part.startswith("{") else part for part in rest))


def _filters(call: Call) -> dict[str, set[str]]:
    wanted: dict[str, set[str]] = {}
    for name, value in call.pairs:
        if found := _FILTER.fullmatch(name):
            wanted.setdefault(found[1], set()).add(value)
    return wanted


def _fits(wanted: Mapping[str, set[str]], document: Document) -> bool:
    return all(_is_wanted(name, values, document) for name, values in wanted.items())


def _is_wanted(name: str, values: set[str], document: Document) -> bool:
    if name in document:
        return bool(_as_text(document[name]) & values)
    since = _SINCE.fullmatch(name)
    at = since and _time(document.get(f"{since['name']}At"))
    if since is None or at is None:
        return False
    asked = [_time(value) for value in values]
    if since["word"] == "After":
        return all(one is not None and one <= at for one in asked)
    return all(one is not None and at <= one for one in asked)


def _time(text: Any) -> datetime | None:
    try:
        read = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    return read.replace(tzinfo=UTC) if read.tzinfo is None else read


def _as_text(value: Any) -> set[str]:
    """How a value may be written in a query."""
    if isinstance(value, bool):
        return {"true", "1"} if value else {"false", "0"}
    return {"", "null"} if value is None else {str(value)}
