"""Every known type has a sample, and each sample is verified, read and recognised as it says."""

import json
from pathlib import Path
from typing import Any

import pytest

from ampeco.notifications import KNOWN_TYPES, UNCONFIRMED_TYPES, parse, read
from ampeco.signature import SIGNATURE_HEADER, SigningKey, verify

SAMPLES = Path(__file__).parents[2] / "samples"
KEY = SigningKey.of("key-of-the-samples")
CASES = sorted(path.parent for path in SAMPLES.glob("*/*/body.json"))

cases = pytest.mark.parametrize("case", CASES, ids=[f"{case.parent.name}/{case.name}" for case in CASES])


def told(case: Path, name: str) -> Any:
    return json.loads((case / f"{name}.json").read_text())


def test_every_type_has_a_typical_sample() -> None:
    assert {case.parent.name for case in CASES if case.name == "typical"} == (
        KNOWN_TYPES.keys() | UNCONFIRMED_TYPES.keys()
    )


@cases
def test_a_sample_is_signed_over_its_exact_bytes(case: Path) -> None:
    assert verify((case / "body.json").read_bytes(), told(case, "headers")[SIGNATURE_HEADER], [KEY]) is KEY


@cases
def test_a_sample_is_read_as_it_says(case: Path) -> None:
    about = told(case, "about")
    found = parse((case / "body.json").read_bytes())
    at = found.occurred_at
    assert not found.misfits
    assert found.type == case.parent.name
    assert (found.key, at and at.isoformat()) == (about["key"], about["occurred_at"])
    assert type(found.payload).__name__ == about["model"]


@cases
def test_a_sample_says_how_sure_its_shape_is(case: Path) -> None:
    about = told(case, "about")
    assert about["shape"] in ("real shape", "inferred", "guess")
    assert about["why"]
    known = KNOWN_TYPES.get(case.parent.name)
    if case.name == "typical" and known is not None:
        certain = {"confirmed": "real shape", "inferred": "inferred"}
        assert about["shape"] == certain.get(known.embedding, "guess")


@cases
def test_what_nobody_knows_survives(case: Path) -> None:
    document = {**read((case / "body.json").read_bytes()), "brandNew": {"deep": [1, {"x": None}]}}
    payload = parse(json.dumps(document).encode()).payload
    assert payload is not None
    assert payload.model_dump(mode="json", by_alias=True)["brandNew"] == document["brandNew"]
    assert type(payload).model_validate(payload.model_dump(by_alias=True)) == payload
