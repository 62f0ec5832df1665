"""Checks the body of a call against what is documented of it, and refuses as AMPECO does: 422 with a list per field.

Unknown members pass, and so does any body of an operation whose body is not publicly documented. Which words AMPECO
itself uses is not published.
"""

from typing import Any

from ampeco.contract.checks import faults
from ampeco.simulator.api.call import Call
from ampeco.simulator.api.shaping import documented
from ampeco.simulator.model import Refused


def check(call: Call, body: Any) -> None:
    """
    Args:
        body: as JSON; None when there was none.

    Raises:
        Refused: 422.
    """
    known = documented(call)
    if known.body is None or (body is None and not known.body_required):
        return
    if body is None:
        body = {}
    errors = FieldErrors()
    for fault in faults(known.body, body):
        if not fault.place:
            raise Refused(422, f"The body {fault.says}.")
        errors.add(fault.place, fault.says)
    errors.refuse_if_any()


class FieldErrors:
    """What is wrong with a body, field by field."""

    def __init__(self) -> None:
        self._found: dict[str, list[str]] = {}

    def add(self, field: str, fault: str) -> None:
        """Something is wrong with this field."""
        self._found.setdefault(field, []).append(f"The field {field} {fault}.")

    def refuse_if_any(self) -> None:
        """
        Raises:
            Refused: 422 with everything that was found.
        """
        if self._found:
            raise Refused(422, "The given data was invalid.", errors=self._found)
