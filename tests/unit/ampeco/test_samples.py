"""Samples and variants are what the contract says, and every type has some; ours for the rest are marked."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from ampeco.contract.samples import SAMPLE_KEY, Sample, sampled, samples
from ampeco.contract.variants import Variant, variants
from ampeco.notifications import KNOWN_TYPES, UNCONFIRMED_TYPES
from ampeco.signature import SIGNATURE_HEADER, verify
from tests.unit.ampeco_simulator.contract_rules import CALLBACKS, payload_faults, payload_validator

CASES = [sample for notification in sampled() for sample in samples(notification)]

cases = pytest.mark.parametrize("sample", CASES, ids=[f"{one.notification}/{one.case}" for one in CASES])
callbacks = pytest.mark.parametrize("notification", CALLBACKS)


def test_every_known_type_has_samples() -> None:
    assert set(sampled()) == KNOWN_TYPES.keys() | UNCONFIRMED_TYPES.keys()
    for notification in sampled():
        expected = ["full", "minimal"] if notification in CALLBACKS else ["guess"]
        assert [sample.case for sample in samples(notification)] == expected
    assert samples("new.type") == ()


@cases
def test_a_sample_is_signed_over_its_exact_bytes(sample: Sample) -> None:
    assert verify(sample.raw, sample.headers[SIGNATURE_HEADER], [SAMPLE_KEY]) is SAMPLE_KEY


@cases
def test_a_sample_has_the_documented_headers(sample: Sample) -> None:
    usual = ["X-Signature", "X-Timestamp", "X-Tenant"]
    documented = CALLBACKS.get(sample.notification, {}).get("headers", usual)
    assert sample.headers.keys() == {"Content-Type", *documented}


@cases
def test_a_sample_is_as_the_contract_says(sample: Sample) -> None:
    assert sample.body["notification"] == sample.notification
    if sample.case != "guess":
        assert payload_faults(sample.notification, sample.body) == []


@cases
def test_a_sample_names_nobody(sample: Sample) -> None:
    text = sample.raw.decode()
    assert set(re.findall(r'[^"@\s]+@[^"\s]+', text)) <= {"driver@example.com"}
    hosts = re.findall(r"https?://([^/\"]+)", text)
    assert set(hosts) <= {"tenant.example"}


@callbacks
def test_variants_are_as_the_contract_says(notification: str) -> None:
    found = list(variants(notification))
    assert found
    assert [
        (each.about, faults) for each in found if (faults := payload_faults(notification, each.body))
    ] == []


@callbacks
def test_variants_show_everything_that_may_vary(notification: str) -> None:
    """Walks the contract's own schema: what may be absent is, what may be null is, and each value occurs."""
    bodies = [each.body for each in variants(notification)]
    missing = [
        place
        for place, holds in expected(payload_validator(notification).schema, ())
        if not any(map(holds, bodies))
    ]
    assert missing == []


def expected(schema: dict[str, Any], path: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    """What has to be met in some body, and how to see it; alternatives are left to the other test."""
    place = ".".join(path)
    for part in schema.get("allOf", ()):
        yield from expected(part, path)
    types = schema.get("type", ())
    if "null" in types and isinstance(types, list):
        yield f"{place} null", lambda body: None in values(body, path)
    for value in schema.get("enum", ()):
        if value is not None:
            yield f"{place} = {value}", lambda body, value=value: value in values(body, path)
    required = {name for part in (schema, *schema.get("allOf", ())) for name in part.get("required", ())}
    for name, part in schema.get("properties", {}).items():
        inner = (*path, name)
        yield f"{'.'.join(inner)}", lambda body, inner=inner: bool(values(body, inner))
        if name not in {*required, "notification"} and "allOf" not in schema and not path:
            yield f"{'.'.join(inner)} absent", lambda body, inner=inner: not values(body, inner)
        yield from expected(part, inner)
    if "items" in schema:
        yield from expected(schema["items"], (*path, "[]"))


def values(body: Any, path: tuple[str, ...]) -> list[Any]:
    """Everything at a place."""
    if not path:
        return [body]
    step, *rest = path
    if step == "[]":
        found = body if isinstance(body, list) else []
    else:
        found = [body[step]] if isinstance(body, dict) and step in body else []
    return [value for inner in found for value in values(inner, tuple(rest))]


def test_variants_are_fresh_objects() -> None:
    def first() -> Variant:
        return next(variants("session.start.stop.notification"))

    first().body.clear()
    assert first().body


def test_a_type_without_a_contract_has_no_variants() -> None:
    assert list(variants("subscriptionPlan.changed")) == []


def test_bodies_are_new_objects_each_time() -> None:
    (guess,) = samples("subscriptionPlan.changed")
    guess.body.clear()
    assert guess.body == json.loads(guess.raw)
