"""What checks of a story share: its facts, found by name, and what a broken promise is. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

from tests.chaos.roles import ROLES, Role
from tests.chaos.story import Ended, Run, Stored, Story


class Violation(NamedTuple):
    """A broken promise.

    Attributes:
        kind: which one, a slug.
        event_id: or another name of what it happened to.
        says: what was seen, in words.
        lines: lines of the record that show it.
    """

    kind: str
    event_id: str
    says: str
    lines: tuple[str, ...] = ()


class Index:
    """The same facts, found by name."""

    def __init__(self, story: Story) -> None:
        self._widened_ms = story.widened_ms
        self.stored = {event.event_id: event for event in story.log}
        self.copies: dict[tuple[str, int], list[Stored]] = defaultdict(list)
        for event in story.log:
            self.copies[event.key, event.n].append(event)
        self.runs: dict[tuple[str, str], list[Run]] = defaultdict(list)
        for run in story.runs:
            self.runs[run.handler, run.event_id].append(run)
        self.ended: dict[tuple[str, str], list[Ended]] = defaultdict(list)
        for end in story.ended:
            self.ended[end.handler, end.event_id].append(end)
        for ends in self.ended.values():
            ends.sort(key=lambda end: end.at_ms)

    def wanted(self) -> Iterator[tuple[str, Role, Stored]]:
        """Every delivery that must come to its end."""
        for name, role in ROLES.items():
            for event in self.stored.values():
                if self.is_promised(role, event):
                    yield name, role, event

    def is_promised(self, role: Role, event: Stored) -> bool:
        """Whether a handler must get an event: one of a later type may have been passed over before it was wanted."""
        since_ms = self._widened_ms if event.type in role.later_types else None
        return event.type in role.types or (since_ms is not None and event.order[0] > since_ms)

    def lines(self, handler: str, event_id: str) -> tuple[str, ...]:
        return tuple(map(str, self.runs[handler, event_id]))
