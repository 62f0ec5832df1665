"""What attempts report about the services that their handler needs: AMPECO, and those named with `Unavailable`.

It decides what counts as a failure of AMPECO. Implementations of `Watch` decide what failures mean for other events.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from eventlog.outages import AMPECO

if TYPE_CHECKING:
    from workers.delivery.attempt import Attempt
    from workers.delivery.outcomes import Outcome

_FAILURES = ("not-sent", "no-answer", "server-fault")  # reasons of errors


class Watch(Protocol):
    """Follows the services of one handler. `answered` and `failed` may be called in any thread.

    Attributes:
        alert: whether failures of a service that this handler needs are being counted.
    """

    alert: bool

    def service_of(self, dependency: str) -> str:
        """Return the service for a name that an author gave to `Unavailable`. The number of services is bounded."""

    def refusal(self) -> str | None:
        """Return why AMPECO is not called now; None when it is."""

    def answered(self) -> None:
        """Note that AMPECO answered, even with a refusal."""

    def went_well(self) -> None:
        """Note that an event was handled, so the services that its author names are available."""

    def failed(self, service: str, key: str, why: str, asked_s: float | None = None) -> None:
        """Note a failure of a service."""

    async def judged(self, service: str, outcome: Outcome, *, refused: bool) -> Outcome:
        """Return what becomes of an attempt that failed on a service, once all reports of it have arrived.

        Args:
            refused: whether `refusal` stopped a call of the attempt.
        """


def failure_of(outcome: str, status: int | None) -> str | None:
    """Return how AMPECO failed; None when it answered.

    Args:
        outcome: as a gate gets it: `ok`, or the reason of an error.
    """
    if status == 429 and outcome == "rate-limited":
        return "429"
    if outcome in _FAILURES:
        return outcome if status is None else str(status)
    return None


async def judged(watch: Watch, attempt: Attempt, outcome: Outcome) -> Outcome:
    """Return the outcome of an attempt, changed if it failed on a service; note that service in the attempt."""
    event = attempt.event
    if outcome.dependency:
        attempt.failed = watch.service_of(outcome.dependency)
        watch.failed(attempt.failed, event.key or event.event_id, "unavailable", outcome.asked_s)
    elif attempt.cut and outcome.reason == "timed-out":  # the time limit was shorter than that of the client
        attempt.failed = AMPECO
        watch.failed(AMPECO, event.key or event.event_id, "no-answer")
    return await watch.judged(attempt.failed, outcome, refused=attempt.refused) if attempt.failed else outcome
