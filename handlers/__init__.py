"""What plugin authors import: the decorator, the event, the context and the outcomes."""

from ampeco.errors import FieldMisfit
from handlers.contract import (
    Backoff,
    Context,
    Event,
    GiveUp,
    Handler,
    HandlerError,
    Raw,
    Retry,
    Skip,
    StepUncertain,
    SyncContext,
    handler,
)

__all__ = [
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
    "handler",
]
