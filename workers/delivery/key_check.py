"""Tries the keys of a handler (`key=`) on the samples of its types, as `handlers check` does."""

from __future__ import annotations

from ampeco.contract.samples import sampled, samples
from ampeco.entity_keys import DEFAULT_RULES
from ampeco.notifications import read
from eventlog.record import StoredEvent
from handlers.declaration import EVERYTHING, Handler
from workers.delivery.handler_key import HandlerKeys

_RECEIVED_AT_MS = 1_800_000_000_000


def key_fault(handler: Handler) -> str | None:
    """Return what is wrong with `key=` in one line, or None: it raises or returns what is not a key.

    A required field that does not fit is not a fault of the function: such a delivery is dead.
    """
    if handler.key is None:
        return None
    keys = HandlerKeys(handler, tell=False)
    for name in sampled() if EVERYTHING in handler.models else handler.types:
        for sample in samples(name):
            key = DEFAULT_RULES.key(name, read(sample.raw))
            made = keys.of(StoredEvent(0, "1-0", name, key, sample.raw, _RECEIVED_AT_MS))
            if made.failed:
                return f"key= {made.failed} for a sample of {name}"
    return None
