"""What is wrong in a whole declaration. Checks of single arguments are in `checks.py`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

from pydantic_settings import BaseSettings

from handlers import checks
from handlers.declaration import ISOLATED, Backoff, Isolation, Order, Start
from handlers.outcomes import LONGEST_WAIT_S
from handlers.shown_value import shown
from handlers.throttle import fault_of as fault_of_throttle


def contradictions(made: Any) -> Iterator[str | None]:
    """Yield what is wrong in a whole declaration, and what to change; None where a check finds nothing.

    Args:
        made: a Handler, of which any attribute may have a wrong type.
    """
    choices = (("order", made.order, get_args(Order)), ("start", made.start, get_args(Start)))
    for name, value, known in choices:
        if value not in known:
            yield f"{name} must be one of {', '.join(known)}; it is {shown(value)}"
    if made.isolation not in (None, *get_args(Isolation)):
        yield "isolation must be None or 'process'"
    for name in ("strict", "dry_run", "enabled", "urgent", "error_text"):
        if type(getattr(made, name)) is not bool:
            yield f"{name} must be True or False"
    backoff, settings = made.backoff, made.settings
    if type(backoff) is Backoff:
        yield checks.backoff(backoff.base_s, backoff.cap_s, backoff.jitter, LONGEST_WAIT_S)
    else:
        yield "backoff must be a Backoff, as Backoff(base_s=1, cap_s=1800)"
    if settings is not None and not (isinstance(settings, type) and issubclass(settings, BaseSettings)):
        yield f"settings must be a class made of pydantic_settings.BaseSettings; it is {shown(settings)}"
    elif settings is not None and str(settings.model_config.get("env_prefix", "")).upper().startswith("AWR_"):
        yield "its settings need a prefix of their own, not AWR_"
    if isinstance(made.queue, str) and made.queue.endswith(ISOLATED):
        yield f"queue must not end with {ISOLATED!r}; use isolation='process'"
    yield checks.attempts(made.max_attempts)
    yield checks.number("timeout_s", made.timeout_s, checks.LONGEST_TIMEOUT_S)
    yield checks.number("concurrency", made.concurrency, checks.MOST, whole=True)
    yield checks.number("not_yet_for_s", made.not_yet_for_s, checks.LONGEST_PATIENCE_S)
    yield checks.number("give_up_after_s", made.give_up_after_s, checks.LONGEST_PATIENCE_S)
    yield checks.queue(made.queue)
    yield checks.where(made.where)
    yield checks.key(made.key)
    if made.key_name is not None and not made.key_name.isprintable():
        yield "the name of key= must be printable text"
    if made.throttle is not None:
        yield fault_of_throttle(made.throttle)
    yield checks.lifespan(made.lifespan, 0 if settings is None else 1)
    yield checks.operations(made.calls)
    yield checks.entity_state(made)
