"""Finds the operation of a method and a path; knows the table of operations and nothing of what they do."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple
from urllib.parse import unquote

from ampeco.operations import Operation
from ampeco.simulator.model import Refused


class Match(NamedTuple):
    """An operation, and its path parameters under AMPECO's names."""

    operation: Operation
    params: Mapping[str, str]


class _Node:
    def __init__(self) -> None:
        self.fixed: dict[str, _Node] = {}
        self.any: _Node | None = None
        self.operations: dict[str, Operation] = {}  # by method


class Routes:
    """A tree of path segments. Written-out segments go before parameters."""

    def __init__(self, operations: Iterable[Operation]) -> None:
        self._root = _Node()
        for operation in operations:
            node = self._root
            for segment in operation.path.strip("/").split("/"):
                if segment.startswith("{"):
                    node.any = node.any or _Node()
                    node = node.any
                else:
                    node = node.fixed.setdefault(segment, _Node())
            node.operations[operation.method] = operation

    def match(self, method: str, path: str) -> Match:
        """The operation for a path as it was sent, percent signs and all.

        Raises:
            Refused: 404 or 405.
        """
        found = self._find(self._root, [unquote(segment) for segment in path.strip("/").split("/")], ())
        if found is None:
            raise Refused(404, "Not Found")
        node, values = found
        operation = node.operations.get(method)
        if operation is None:
            raise Refused(405, "Method Not Allowed")
        return Match(operation, dict(zip(operation.parameters, values, strict=True)))

    def _find(
        self, node: _Node, segments: list[str], values: tuple[str, ...]
    ) -> tuple[_Node, tuple[str, ...]] | None:
        if not segments:
            return (node, values) if node.operations else None
        segment, *rest = segments
        if segment in node.fixed and (found := self._find(node.fixed[segment], rest, values)):
            return found
        if node.any is not None and segment:
            return self._find(node.any, rest, (*values, segment))
        return None
