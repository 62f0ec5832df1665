"""Answers calls of resources and logs: every endpoint of the table, over one store of plain documents.

Which members a resource has is not checked: bodies of resources are not publicly documented.
"""

import re
from collections.abc import Mapping
from functools import partial
from typing import Any

from ampeco.operations import VERSIONS, Operation
from ampeco.simulator import body_checks
from ampeco.simulator.call import Answer, Call
from ampeco.simulator.model import Refused
from ampeco.simulator.paging import page
from ampeco.simulator.store import Document, Path, Store
from ampeco.simulator.tenant import Tenant

_FILTER = re.compile(r"filter\[(\w+)\](\[\])?")
_LISTED = frozenset(operation.path for operation in VERSIONS.values() if operation.name.endswith(".list"))
_BARE = frozenset({"resources.transactions.read", "resources.users.invoice-details.read"})
"""Answered without `data` around them. Source: typed client of v3.96.4."""


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
        if operation.path.endswith("}"):
            return self._one(call, path[:-1], path[-1])
        if operation.path in _LISTED and operation.method in {"GET", "POST"}:
            return self._many(call, path)
        return self._single(call, path)

    def _many(self, call: Call, path: Path) -> Answer:
        if call.operation.method == "POST":
            return Answer(
                self._tenant.habits.created_status, {"data": self._store.create(path, self._written(call))}
            )
        wanted = _filters(call)
        fits = partial(_fits, wanted) if wanted else None
        ids, show = self._store.ids(path), partial(self._store.read, path)
        return Answer(200, page(call, self._tenant.habits, ids, show, fits))

    def _one(self, call: Call, path: Path, id_: str) -> Answer:
        match call.operation.method:
            case "GET":
                return Answer(200, _enveloped(call.operation, self._store.read(path, id_)))
            case "DELETE":
                self._store.delete(path, id_)
                return Answer(204)
        changed = self._store.update(path, id_, self._written(call), replaces=call.operation.method == "PUT")
        return Answer(200, {"data": changed})

    def _single(self, call: Call, path: Path) -> Answer:
        match call.operation.method:
            case "GET":
                return Answer(200, _enveloped(call.operation, self._store.single(path)))
            case "DELETE":
                self._store.set_single(path, None)
                return Answer(204)
        body = call.body()
        if not isinstance(body, dict | list):
            raise Refused(422, "The body must be a JSON object.")
        self._store.set_single(path, body)
        return Answer(200, {"data": body})

    def _written(self, call: Call) -> Document:
        body = call.body()
        if not isinstance(body, dict):
            raise Refused(422, "The body must be a JSON object.")
        if call.operation.fields and self._tenant.habits.strict_bodies:
            body_checks.check(call.operation, body)
        return body


def _path(operation: Operation, params: Mapping[str, str]) -> Path:
    """Nouns and ids: `/public-api/resources/users/v1.1/{user}/notes` -> ("users", "5001", "notes")."""
    _, kind, noun, _, *rest = operation.path.strip("/").split("/")
    first = noun if kind == "resources" else f"{kind}/{noun}"
    return (first, *(params[part[1:-1]] if part.startswith("{") else part for part in rest))


def _enveloped(operation: Operation, document: Any) -> Any:
    return document if operation.name in _BARE else {"data": document}


def _filters(call: Call) -> dict[str, set[str]]:
    wanted: dict[str, set[str]] = {}
    for name, value in call.pairs:
        if found := _FILTER.fullmatch(name):
            wanted.setdefault(found[1], set()).add(value)
    return wanted


def _fits(wanted: Mapping[str, set[str]], document: Document) -> bool:
    return all(name in document and _as_text(document[name]) & values for name, values in wanted.items())


def _as_text(value: Any) -> set[str]:
    """How a value may be written in a query."""
    if isinstance(value, bool):
        return {"true", "1"} if value else {"false", "0"}
    return {"", "null"} if value is None else {str(value)}
