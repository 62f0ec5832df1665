"""The test kit for handlers: events, deliveries by a worker's rules, a pretend tenant, and a conformance suite."""

from handlers.context import Context, SyncContext
from handlers.testing.clock import Clock
from handlers.testing.conformance import conformance
from handlers.testing.delivery import deliver, deliver_due, deliver_until_settled
from handlers.testing.entity_memory import timer_of
from handlers.testing.events import event_from, event_of, known_types, samples_of, variants_of
from handlers.testing.fake_ampeco import Called, FakeAmpeco, UndeclaredCall
from handlers.testing.fields import ABSENT
from handlers.testing.memory import Memory
from handlers.testing.outcome import Outcome, PlannedTimer

__all__ = [
    "ABSENT",
    "Called",
    "Clock",
    "Context",
    "FakeAmpeco",
    "Memory",
    "Outcome",
    "PlannedTimer",
    "SyncContext",
    "UndeclaredCall",
    "conformance",
    "deliver",
    "deliver_due",
    "deliver_until_settled",
    "event_from",
    "event_of",
    "known_types",
    "samples_of",
    "timer_of",
    "variants_of",
]
