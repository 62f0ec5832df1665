"""Answers that a test prepares: for which operation, and how often."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ampeco.errors import (
    ActionRefused,
    ApiError,
    BadRequest,
    ChargePointRefused,
    Conflict,
    CriteriaNotMet,
    FeatureDisabled,
    Forbidden,
    Invalid,
    NotFound,
    NotSupported,
    RateLimited,
    ServerFault,
    Unauthorized,
    Unreachable,
    error_class,
)
from ampeco.nearest import did_you_mean
from ampeco.operations import OPERATIONS, check_address

_STATUSES: Mapping[type[ApiError], int] = {
    BadRequest: 400,
    Unauthorized: 401,
    Forbidden: 403,
    NotFound: 404,
    FeatureDisabled: 405,
    ChargePointRefused: 406,
    Conflict: 409,
    CriteriaNotMet: 412,
    Invalid: 422,
    RateLimited: 429,
    ServerFault: 500,
    NotSupported: 501,
}


@dataclass
class Canned:
    """One prepared answer.

    Attributes:
        times: how often it is still given; None for always.
        error: what was asked for, where it is not a status.
    """

    status: int
    document: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    times: int | None = None
    error: int | type[ApiError] | None = None

    @property
    def outcome(self) -> str:
        """The word that logs have for such an answer."""
        if 200 <= self.status < 300:
            refused = isinstance(self.document, dict) and self.document.get("success") is False
            return ActionRefused.reason if refused else "ok"
        return error_class(self.status).reason


class CannedAnswers:
    """Prepared answers by operation. Those with a number go first, in their order; then the last one without."""

    def __init__(self) -> None:
        self._counted: dict[str, list[Canned]] = {}
        self._always: dict[str, Canned] = {}

    def add(self, operation: str, canned: Canned) -> None:
        """Prepare an answer.

        Raises:
            LookupError: there is no such operation.
        """
        _check(operation)
        if canned.times is None:
            self._always[operation] = canned
        else:
            self._counted.setdefault(operation, []).append(canned)

    def next(self, operation: str) -> Canned | None:
        """Return the answer to the next request, if one is prepared."""
        counted = self._counted.get(operation, [])
        while counted:
            canned = counted[0]
            if canned.times:
                canned.times -= 1
                return canned
            counted.pop(0)
        return self._always.get(operation)


def status_of(error: type[ApiError]) -> int:
    """Return the status that a client reads as this error; 0 where there is no answer.

    Raises:
        TypeError: no status means it.
    """
    if issubclass(error, Unreachable):
        return 0
    for known, status in _STATUSES.items():
        if error is known:
            return status
    raise TypeError(f"no status means {error.__name__}; name a class below it, or a number")


def _check(operation: str) -> None:
    if operation in OPERATIONS:
        return
    if " " in operation:
        check_address(operation)
        return
    raise LookupError(f"AMPECO has no operation {operation!r}{did_you_mean(operation, OPERATIONS)}")
