"""What a call of an action says to AMPECO: one request, one answer; knows no transport."""

from collections.abc import Mapping
from typing import Any

from ampeco.actions.encoding import encode
from ampeco.calls import Call
from ampeco.operations import OPERATIONS, Id
from ampeco.wire import build

Extra = Mapping[str, Any] | None
"""Further members of a body, by AMPECO's names, sent as they are."""


def act(
    name: str, parameters: Mapping[str, Id], given: Mapping[str, Any] | None = None, extra: Extra = None
) -> Call[Any]:
    """Carry out an action; the result is the document it answered, None when it answered none.

    Args:
        name: of the operation.
        parameters: a value for each path parameter.
        given: members of the body, `UNSET` ones included; None for an action without a body.
        extra: further members.
    """
    operation = OPERATIONS[name]
    body: Any = None
    if given is not None or extra:
        body = {**encode(operation.fields or (), given or {}), **(extra or {})}
    if operation.takes == "array":
        (body,) = body.values()
    answer = yield build(operation, parameters, body)
    return answer
