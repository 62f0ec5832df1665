"""What plugin authors import: the decorator, the event, the context and the outcomes."""

from ampeco.errors import FieldMisfit
from handlers.context import Context, SyncContext
from handlers.declaration import Backoff, Handler, HandlerError
from handlers.decorator import handler
from handlers.event import Event, Raw
from handlers.names import other
from handlers.outcomes import GiveUp, Retry, Skip, StepUncertain, Unavailable
from handlers.promise import CONTRACT_VERSION
from handlers.throttle import Throttle
from handlers.timer import Timer

__all__ = [
    "CONTRACT_VERSION",
    "Backoff",
    "Context",
    "Event",
    "FieldMisfit",
    "GiveUp",
    "Handler",
    "HandlerError",
    "Raw",
    "Retry",
    "Skip",
    "StepUncertain",
    "SyncContext",
    "Throttle",
    "Timer",
    "Unavailable",
    "handler",
    "other",
]
