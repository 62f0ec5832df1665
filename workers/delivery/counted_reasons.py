"""Which reasons of failed attempts have a counter of their own. Authors may have any number of others."""

from __future__ import annotations

from ampeco.errors import NotSupported, RateLimited
from handlers import GiveUp
from handlers.outcomes import CallNotDeclared, LoopGuarded, StepUncertain, Throttled
from workers.delivery.outcomes import PAYLOAD_MISMATCH
from workers.delivery.patience import CODE_ERROR

_COUNTED = frozenset(
    (
        CODE_ERROR, PAYLOAD_MISMATCH, RateLimited.reason, NotSupported.reason, GiveUp.slug, LoopGuarded.slug,
        CallNotDeclared.slug, StepUncertain.slug, "error", "timed-out", "out-of-memory", "retry-asked", "not-yet",
        "unavailable", "attempts-exhausted", "retried-too-long", "too-early-for-too-long", "unavailable-for-too-long",
        "rate-limited-for-too-long", "never-awaited", "unreadable-outcome", "step-name", "step-options",
        "step-repeated", "step-without-key", Throttled.slug, "step-result", "worker-died", "ampeco-away",
    )
)  # fmt: skip


def counted_reason(reason: str) -> str:
    """Return the reason as counters and metrics have it: `(other)` for one of an author's own."""
    return reason if reason in _COUNTED else "(other)"
