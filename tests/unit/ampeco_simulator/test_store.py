"""The simulator's objects: what callers create takes the place of nothing that is or was there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from ampeco.simulator.store import MADE_IDS_FROM, Store

NOTES = ("users", "5001", "notes")


class Fleet:
    """A source that shows some ids of every collection."""

    def __init__(self, *ids: int) -> None:
        self._ids = ids

    def knows(self, noun: str) -> bool:
        return False

    def ids(self, path: Sequence[str]) -> Sequence[int | str]:
        return self._ids

    def read(self, path: Sequence[str], id_: str) -> dict[str, Any] | None:
        return {"id": int(id_)} if int(id_) in self._ids else None


@pytest.mark.parametrize("first", [1, MADE_IDS_FROM])
def test_a_new_object_leaves_seeded_ones_alone(first: int) -> None:
    store = Store(Fleet(*([7] if first > 7 else [])))
    for id_ in (first, first + 1):
        store.put(NOTES, str(id_), {"text": "seeded"})
    made = [store.create(NOTES, {"text": "made"})["id"] for _ in range(2)]
    assert made == [first + 2, first + 3]
    assert [store.read(NOTES, str(id_))["text"] for id_ in (first, first + 1)] == ["seeded", "seeded"]


def test_a_new_object_gets_no_id_of_a_removed_one() -> None:
    store = Store(Fleet())
    store.put(NOTES, "1", {"text": "seeded"})
    store.delete(NOTES, "1")
    made = store.create(NOTES, {"text": "made"})
    assert store.read(NOTES, str(made["id"])) == {"text": "made", "id": 2}


def test_a_new_object_leaves_those_of_the_fleet_alone() -> None:
    store = Store(Fleet(MADE_IDS_FROM))
    assert store.create(NOTES, {})["id"] == MADE_IDS_FROM + 1
