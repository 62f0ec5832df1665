"""The outcomes that a handler can raise: skip the event, retry it later, or give it up."""

from __future__ import annotations

LONGEST_WAIT_S = 30 * 86_400.0
"""The longest wait between two attempts: a longer one is cut to this."""


class Skip(Exception):
    """This event is not for me; nothing went wrong and nothing is left to do.

    Args:
        reason: a few words for an operator who asks what became of the event. No personal data: it is logged.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = str(reason)


class Retry(Exception):
    """Not now; try again later.

    Args:
        reason: a few words, no personal data.
        after_s: seconds to wait, at most `LONGEST_WAIT_S`; None leaves it to the retry policy. So does anything
            but a number, and the outcome says why.
        counts: False when nothing failed and it is only too early: no attempt is spent.
    """

    def __init__(self, reason: str, *, after_s: float | None = None, counts: bool = True) -> None:
        super().__init__(reason)
        self.reason = str(reason)
        self.after_s = after_s
        self.counts = counts


class Unavailable(Exception):
    """A service that this handler needs is away, and no event is at fault: no attempt is spent.

    Five of these in a row, for three entities and without a success between them, hold the handler. It gets no event
    until the pause is over. Then one event tries.

    Args:
        dependency: a short stable name of what is away, as `billing`; shown to operators, at most 100 characters.
            Beyond 50 names of a handler in one process, further ones count together.
        retry_after_s: seconds that it asked for, if it did; at most `LONGEST_WAIT_S`.
    """

    def __init__(self, dependency: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(dependency)
        self.dependency = str(dependency)
        self.retry_after_s = retry_after_s


class LoopGuarded(Retry):
    """An action would make a chain too long, in which each call answers the effect of the call before.

    The action was not called. The event is tried again when the chain is shorter, and no attempt is spent.
    """

    slug = "loop-guard"

    def __init__(self, reason: str, *, after_s: float) -> None:
        super().__init__(reason, after_s=after_s, counts=False)


class Throttled(Retry):
    """The limit of `throttle=` is reached, and the event waits until a slot is free. No attempt is spent."""

    slug = "throttled"

    def __init__(self, reason: str, *, after_s: float) -> None:
        super().__init__(reason, after_s=after_s, counts=False)


class GiveUp(Exception):
    """The event will never work: keep it as dead, for a human.

    Args:
        reason: a few words, no personal data. The slug is the same in one stable word.
    """

    slug = "gave-up"

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = str(reason)


class CallNotDeclared(GiveUp):
    """The handler called an action that its declaration does not name in `calls`."""

    slug = "call-not-declared"


class StepUncertain(GiveUp):
    """A once-only step was called, and its outcome is unknown."""

    slug = "step-uncertain"


class StepRefused(GiveUp):
    """A once-only step that cannot be used as the handler uses it.

    Args:
        slug: `step-name`, `step-options`, `step-repeated`, `step-without-key` or `step-result`.
    """

    def __init__(self, slug: str, reason: str) -> None:
        super().__init__(reason)
        self.slug = slug


class TimerRefused(GiveUp):
    """A timer that cannot be set as the handler asks for it.

    Args:
        slug: `timer-undeclared`, `timer-without-key`, `timer-name`, `timer-delay`, `timer-data` or `timer-too-many`.
    """

    def __init__(self, slug: str, reason: str) -> None:
        super().__init__(reason)
        self.slug = slug


class StateRefused(GiveUp):
    """A state of an entity that cannot be read or kept.

    Args:
        slug: `state-undeclared`, `state-without-key`, `state-misfit` (what is kept does not fit the declared type),
            `state-type` (what the handler gives does not), or `state-too-large`.
    """

    def __init__(self, slug: str, reason: str) -> None:
        super().__init__(reason)
        self.slug = slug
