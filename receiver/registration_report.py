"""Reports checks of the registration in log lines and metrics: each warning once, until it changes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from eventlog.clock import rfc3339
from receiver.logging import get_logger
from receiver.metrics import Metrics
from receiver.registration_check import TWO_URLS, Done, Look, foreign_words

_UNTIED = "no record says that its key is out of use; `registration apply --remove ID` removes it"
_NOT_MADE_HERE = "this log did not make it: another deployment, or an earlier log, has the same URL"

_log = get_logger(__name__)


class RegistrationReport:
    """Reports the checks of one process."""

    def __init__(
        self, metrics: Metrics, callback_url: str, accepted_key_ids: Callable[[], Sequence[str]]
    ) -> None:
        self._metrics = metrics
        self._callback_url = callback_url
        self._accepted_key_ids = accepted_key_ids
        self._said: frozenset[tuple[str, ...]] = frozenset()
        self._is_first = True

    def found(self, look: Look) -> None:
        """Warn that our subscription is gone or was changed, before it is restored."""
        noted = frozenset[str]().union(*(one.types for one in look.registration.missing.values()))
        if look.plan.lost <= noted or look.foreign or look.registration.removed_ms is not None:
            return
        confirmed_ms = look.registration.confirmed_ms
        self._metrics.lost_subscriptions.inc()
        _log.warning(
            "notification_subscription.lost",
            subscription_id=look.stored.get("id"),
            types=sorted(look.plan.lost),
            confirmed_at=rfc3339(confirmed_ms) if confirmed_ms else None,
            callback_url_there=look.plan.moved_from,
        )

    def refused(self, types: frozenset[str]) -> None:
        """Log the types that AMPECO does not take."""
        if types:
            _log.error("notification_subscription.types_refused", types=sorted(types))

    def done(self, look: Look, done: Done) -> None:
        """Log what a check changed, the gaps that ended with it, and what a person has to decide."""
        plan = look.plan
        if done.kept is not None and (plan.changes or self._is_first):
            _log.info(
                "notification_subscription.reconciled",
                action=plan.action,
                subscription_id=done.kept,
                types=len(plan.types),
                removed=len(plan.extras),
                unwanted=list(plan.unwanted),
            )
        self._is_first = False
        for gap in done.closed.gaps:
            self._metrics.gaps.inc()
            _log.warning(
                "gap.closed",
                event_id=gap.event_id,
                reason=gap.reason,
                duration_s=gap.duration_ms / 1000,
                types=len(gap.types),
            )
        now = frozenset(self._to_decide(look, done))
        for warning in sorted(now - self._said):
            self._warn(warning, look)
        self._said = now

    def _to_decide(self, look: Look, done: Done) -> Iterator[tuple[str, ...]]:
        """Yield the warnings, as values that are equal while nothing has changed."""
        if done.state == TWO_URLS:
            yield "urls", foreign_words(look)
        if done.kept is None:
            return
        if look.plan.left:
            yield "second", done.kept, look.known.held or _UNTIED, *look.plan.left
        if look.is_adopted:
            yield "adopted", done.kept
        if done.key_id and done.key_id not in self._accepted_key_ids():
            yield "key", done.kept, done.key_id

    def _warn(self, warning: tuple[str, ...], look: Look) -> None:
        match warning:
            case ("urls", words):
                _log.warning(
                    "notification_subscription.two_urls",
                    subscribed=look.stored.get("callback_url"),
                    callback_url=self._callback_url,
                    receivers=words,
                )
            case ("second", kept, why, *left):
                _log.warning("notification_subscription.second", kept=kept, subscription_ids=left, why=why)
            case ("adopted", kept):
                _log.warning(
                    "notification_subscription.adopted",
                    subscription_id=kept,
                    callback_url=self._callback_url,
                    why=_NOT_MADE_HERE,
                )
            case ("key", kept, key_id):
                _log.warning(
                    "notification_subscription.key_not_accepted", subscription_id=kept, key_id=key_id
                )
