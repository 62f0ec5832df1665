"""One case of the conformance suite: a handler, its events, and the surroundings that its author gives it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from handlers.declaration import EVERYTHING, Handler
from handlers.event import Event, is_timer
from handlers.testing.delivery import NOT_GIVEN
from handlers.testing.events import known_types, samples_of, variants_of
from handlers.testing.fake_ampeco import FakeAmpeco


@dataclass(frozen=True)
class Case:
    """A handler, and the surroundings its author gives it.

    Attributes:
        settings: its settings, or `NOT_GIVEN`.
        state: makes what its lifespan would yield; None to enter the lifespan.
        ampeco: makes the tenant of one check.
        effects: says what the state has done so far, as a value to compare.
        events: more events to run it on.
    """

    handler: Handler
    settings: Any
    state: Callable[[], Any] | None
    ampeco: Callable[[], FakeAmpeco]
    effects: Callable[[Any], Any] | None
    events: tuple[Event[Any], ...]

    @property
    def own_samples(self) -> list[Event[Any]]:
        """The events of its author, and the samples of its types."""
        return [*self.events, *(event for name in self._types() for event in samples_of(name))]

    @property
    def samples_of_ampeco(self) -> list[Event[Any]]:
        """The events without timers, whose bodies only the handler makes."""
        return [event for event in self.own_samples if not is_timer(event.type)]

    def own_variants(self) -> Iterator[tuple[str, Event[Any]]]:
        """Each variant of its types."""
        for name in self._types():
            for about, event in variants_of(name):
                yield f"{name}: {about}", event

    def made_state(self) -> Any:
        return NOT_GIVEN if self.state is None else self.state()

    def _types(self) -> Iterable[Any]:
        sampled = known_types()
        wanted = sampled if EVERYTHING in self.handler.models else self.handler.types
        return [name for name in wanted if name in sampled]
