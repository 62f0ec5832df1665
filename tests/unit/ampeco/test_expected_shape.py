"""Drift: what counts as a difference from the contract, and from what was seen where the contract says nothing."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from ampeco.contract import published
from ampeco.contract.samples import samples
from ampeco.contract.variants import variants
from ampeco.expected_shape import SURE_OBJECTS, SURE_SAMPLES, drifts, expected, is_known_name
from ampeco.observed_shape import Shape, absorb, observed
from ampeco.paths import snake

SESSION = "SessionUpdateNotification"
Found = list[tuple[str, str, str]]


def found(notification: str, body: dict[str, Any], before: Shape | None = None) -> Found:
    now = observed(body, 1_000, is_known_name)
    return [(d.path, d.what, d.against) for d in drifts(notification, before or Shape(), now)]


def seen(body: dict[str, Any], times: int) -> Shape:
    shape = Shape()
    for _ in range(times):
        absorb(shape, observed(body, 1, is_known_name), is_known_name)
    return shape


@pytest.mark.parametrize("notification", sorted(published.notifications()))
def test_what_the_contract_allows_is_no_drift(notification: str) -> None:
    for variant in variants(notification):
        assert found(notification, variant.body) == [], variant.about


def test_a_field_is_known_in_the_snake_case_in_which_models_read_it() -> None:
    assert [name for name in published.field_names() if not is_known_name(snake(name))] == []


def changed(change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    body = copy.deepcopy(samples(SESSION)[0].body)
    change(body)
    return body


@pytest.mark.parametrize(
    ("change", "drift"),
    [
        (lambda b: b["session"].pop("evseId"), ("session.evseId", "missing-field")),
        (lambda b: b.pop("session"), ("session", "missing-field")),
        (lambda b: b["session"].update(newOne=1), ("session.newOne", "new-field")),
        (lambda b: b["session"].update({"e@x.de": 1}), ("session.*", "new-field")),
        (lambda b: b.update(extra={"a": {"b": 1}}), ("extra", "new-field")),
        (lambda b: b["session"].update(energy="12,5"), ("session.energy", "other-kind")),
        (lambda b: b["session"].update(status=[]), ("session.status", "other-kind")),
        (lambda b: b.update(session=[]), ("session", "other-kind")),
    ],
)
def test_what_it_does_not_allow_is_named_by_its_place(
    change: Callable[[dict[str, Any]], object], drift: tuple[str, str]
) -> None:
    assert found(SESSION, changed(change)) == [(*drift, "contract")]


def test_an_integer_where_a_number_is_documented_is_no_drift() -> None:
    assert found(SESSION, changed(lambda body: body["session"].update(energy=12))) == []


@pytest.mark.parametrize("type_name", ["something.new", "subscriptionPlan.changed"])
def test_where_the_contract_says_nothing_news_is_what_was_not_seen_before(type_name: str) -> None:
    assert expected(type_name) is None
    usual = {"notification": type_name, "plan": {"id": 1, "name": "x", "price": 10, "note": None}}
    other = {
        "notification": type_name,
        "plan": {"id": "1", "name": None, "price": 1.5, "more": {"a": 1}, "note": 1},
    }
    assert found(type_name, other) == []
    assert found(type_name, other, seen(usual, SURE_SAMPLES - 1)) == []
    assert found(type_name, other, seen(usual, SURE_SAMPLES)) == [
        ("plan.id", "other-kind", "seen"),
        ("plan.more", "new-field", "seen"),
        ("plan.note", "other-kind", "seen"),
    ]
    assert found(type_name, usual, seen(usual, SURE_SAMPLES)) == []


def test_a_field_that_was_always_there_is_missed() -> None:
    usual = samples(SESSION)[0].body
    optional = next(
        name for name in usual["session"] if not (expected(SESSION) or {})[f"session.{name}"].is_required
    )
    without = changed(lambda body: body["session"].pop(optional))
    assert found(SESSION, without, seen(usual, SURE_OBJECTS - 1)) == []
    missed = found(SESSION, without, seen(usual, SURE_OBJECTS))
    assert (f"session.{optional}", "missing-field", "seen") in missed
    both = seen(usual, SURE_OBJECTS)
    absorb(both, seen(without, 1), is_known_name)
    assert found(SESSION, without, both) == []
