"""What fits a model is found out without building it, and never differs from what building it would say."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError, model_validator

from ampeco.errors import PayloadError
from ampeco.models.fitting import checker
from ampeco.notifications import MODELS, UNTYPED, Recognized, parse, read, recognize

SAMPLES = Path(__file__).parents[2] / "samples"
JUNK: tuple[Any, ...] = (
    None, "", "x", "1", "2026-11-24T10:00:00Z", [], [1], [None], [{}], [[]], {}, {"a": 1}, {"id": 1},
    0, 1, -1.5, True, 1e300, 10**30,
)  # fmt: skip


def bodies(name: str) -> list[bytes]:
    return [path.read_bytes() for path in sorted((SAMPLES / name).glob("*/body.json"))]


def harmed(value: Any, chance: random.Random) -> Any:
    """The same with something in it replaced or left out."""
    if isinstance(value, dict) and value and chance.random() < 0.8:
        name = chance.choice(list(value))
        match chance.random():
            case draw if draw < 0.15:
                return {key: found for key, found in value.items() if key != name}
            case draw if draw < 0.5:
                return {**value, name: chance.choice(JUNK)}
            case _:
                return {**value, name: harmed(value[name], chance)}
    if isinstance(value, list) and value and chance.random() < 0.8:
        at = chance.randrange(len(value))
        return [*value[:at], harmed(value[at], chance), *value[at + 1 :]]
    return chance.choice(JUNK)


def built(model: type[BaseModel], data: Any) -> bool:
    try:
        model.model_validate(data)
    except ValidationError:
        return False
    return True


@pytest.mark.parametrize("name", MODELS)
def test_it_says_what_building_would_say(name: str) -> None:
    fits, chance, told = checker(MODELS[name]), random.Random(name), set()
    samples = bodies(name)
    assert samples
    for sample in map(read, samples):
        assert fits(sample)
        for _ in range(150):
            data = sample
            for _ in range(chance.randint(1, 3)):
                data = harmed(data, chance)
            assert fits(data) is built(MODELS[name], data), data
            told.add(fits(data))
    assert True in told


@pytest.mark.parametrize("name", MODELS)
def test_what_is_recognized_is_what_would_be_parsed(name: str) -> None:
    for body in bodies(name):
        whole = parse(body)
        dated = whole.occurred_at is not None
        assert recognize(body) == Recognized(whole.type, whole.key, dated, whole.misfit)


def test_the_unknown_the_untyped_and_the_unreadable() -> None:
    assert recognize(b'{"notification": "never.seen", "sessionId": 7}').type == "never.seen"
    assert recognize(b"{}") == Recognized(UNTYPED, None, dated=False, misfit=False)
    assert recognize(b'{"notification": "SessionMeterValuesNotification"}').misfit
    with pytest.raises(PayloadError):
        recognize(b"[]")


def test_a_model_that_wants_to_see_itself_is_built() -> None:
    class Odd(BaseModel):
        number: int

        @model_validator(mode="after")
        def _is_odd(self) -> Odd:
            if self.number % 2 == 0:
                raise ValueError
            return self

    assert [checker(Odd)({"number": number}) for number in (1, 2, "x")] == [True, False, False]
