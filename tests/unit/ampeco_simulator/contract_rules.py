"""Judges requests and answers by the published contract, through JSON Schema: our simulator has no say in it."""

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from jsonschema import Draft202012Validator, FormatChecker

from ampeco.facts.shapes import field_name, schema_of

CONTRACT = json.loads((Path(__file__).parents[3] / "ampeco" / "facts" / "contract.json").read_bytes())
OPERATIONS: dict[str, dict[str, Any]] = CONTRACT["operations"]
CALLBACKS: dict[str, dict[str, Any]] = CONTRACT["callbacks"]
FORMATS = FormatChecker(formats=["date-time", "date", "email", "uuid"])
SLIPS = {"charge-point": "chargePoint"}
OVERLAPPING = re.compile(
    r"/(payment-terminals|roaming-providers|invoice-details)(/|$|\d|v)|/invoice-details$"
)
"""Paths whose `oneOf` in the contract has alternatives that no value can tell apart: read as `anyOf`."""


def schema(shape: Any, *, without: str = "", overlapping: bool = False) -> dict[str, Any]:
    """A shape of the contract as JSON Schema."""
    made = schema_of(shape, CONTRACT["shared"], without=without)
    return json.loads(json.dumps(made).replace('"oneOf"', '"anyOf"')) if overlapping else made


@cache
def payload_validator(notification: str) -> Draft202012Validator:
    """What judges the payload of a notification type; `charge-point` is a slip of the contract."""
    wanted = schema(CALLBACKS[notification]["payload"])
    wanted["required"] = [SLIPS.get(name, name) for name in wanted.get("required", ())]
    return Draft202012Validator(wanted, format_checker=FORMATS)


def payload_faults(notification: str, body: Any) -> list[str]:
    """What is wrong with a payload."""
    return _said(payload_validator(notification), body)


def operation_of(method: str, path: str) -> str | None:
    """The operation that a request asks for; written-out segments go before parameters."""
    found = [key for key, pattern in _patterns() if pattern.fullmatch(f"{method} {path}")]
    return min(found, key=lambda key: key.count("{"), default=None)


def request_faults(operation: str, query: str, body: bytes) -> Iterator[str]:
    """What is wrong with a request.

    Args:
        query: as it was sent, without the question mark.
    """
    known = OPERATIONS[operation]
    yield from _query_faults(known.get("parameters", {}), parse_qsl(query, keep_blank_values=True))
    if not body:
        if known.get("body_required"):
            yield "a body is required"
    elif "body" not in known:
        yield "a body where none is documented"
    else:
        yield from _said(_validator(operation, "body"), json.loads(body))


def answer_faults(operation: str, status: int, body: bytes) -> Iterator[str]:
    """What is wrong with an answer."""
    answers = OPERATIONS[operation]["answers"]
    if str(status) not in answers:
        yield f"{status} is none of {', '.join(answers)}"
    elif answers[str(status)] is None:
        if body and status < 300:
            yield f"{status} comes with a body"
    elif not body:
        yield f"{status} comes without a body"
    else:
        yield from _said(_validator(operation, str(status)), json.loads(body))


@cache
def _patterns() -> list[tuple[str, re.Pattern[str]]]:
    return [(key, re.compile(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(key)))) for key in OPERATIONS]


@cache
def _validator(operation: str, part: str) -> Draft202012Validator:
    known = OPERATIONS[operation]
    shape, without = (known["body"], "ro") if part == "body" else (known["answers"][part], "wo")
    overlapping = OVERLAPPING.search(operation) is not None
    return Draft202012Validator(
        schema(shape, without=without, overlapping=overlapping), format_checker=FORMATS
    )


def _said(validator: Draft202012Validator, value: Any) -> list[str]:
    return [
        f"{'.'.join(map(str, error.absolute_path))}: {error.message[:200]}"
        for error in validator.iter_errors(value)
    ]


def _query_faults(declared: dict[str, Any], pairs: list[tuple[str, str]]) -> Iterator[str]:
    """Names, and values read as the type that is declared; `filter[name]`, `include[]` and plain ones."""
    known = {}
    for written, shape in declared.items():
        place, _, rest = written.partition(" ")
        name, marks = field_name(rest)
        if place == "query":
            known[name] = schema(shape)
            if "*" in marks and not any(re.match(rf"{re.escape(name)}(\[|$)", given) for given, _ in pairs):
                yield f"{name} is required"
    for given, text in pairs:
        name, *inner = re.findall(r"[^\[\]]+|(?<=\[)(?=\])", given)
        if name not in known:
            yield f"{given} is not declared"
            continue
        expected = known[name]
        for step in inner:
            expected = (
                expected.get("items", {}) if step == "" or step.isdigit() else _property(expected, step)
            )
        if expected is None:
            yield f"{given} is not declared"
        elif not any(Draft202012Validator(expected).is_valid(value) for value in _readings(text)):
            yield f"{given}={text} is not as declared"


def _property(declared: dict[str, Any], name: str) -> Any:
    return declared.get("properties", {}).get(name.partition(".")[0])


def _readings(text: str) -> Iterator[Any]:
    yield text
    if re.fullmatch(r"-?\d+(\.\d+)?|true|false", text):
        yield json.loads(text)
