"""Requests as AMPECO expects them; an answer that is a success becomes data."""

import json
import math
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ampeco.errors import ActionRefused, ApiError, Invalid, ServerFault
from ampeco.operations import OPERATIONS
from ampeco.wire import MOST_VALUES, WireRequest, build, build_at, content, decipher

RESET = build(OPERATIONS["charge-point.reset"], {"chargePoint": "12", "type": "soft"})
LIST = build(OPERATIONS["notifications.list"])


def failure(status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> ApiError:
    with pytest.raises(ApiError) as caught:
        decipher(RESET, status, headers or {}, body)
    return caught.value


def fault(request: WireRequest, status: int, headers: dict[str, str], body: bytes) -> ApiError | None:
    try:
        decipher(request, status, headers, body)
    except ApiError as error:
        return error
    return None


@given(
    status=st.integers(100, 999),
    body=st.one_of(
        st.binary(),
        st.recursive(st.none() | st.text() | st.integers(), st.lists).map(json.dumps).map(str.encode),
    ),
    headers=st.dictionaries(st.sampled_from(["Retry-After", "Date", "X"]), st.text()),
)
def test_any_answer_is_data_or_an_api_error(status: int, body: bytes, headers: dict[str, str]) -> None:
    for request in (RESET, LIST):
        error = fault(request, status, headers, body)
        assert error is None or str(error).isprintable()


@given(
    st.recursive(
        st.none() | st.booleans() | st.text() | st.floats(),
        lambda x: (
            st.lists(x)
            | st.dictionaries(
                st.sampled_from(
                    ["message", "errors", "data", "success", "errorCode", "meta", "links", "next"]
                ),
                x,
            )
        ),
    )
)
def test_any_json_is_data_or_an_api_error(document: Any) -> None:
    body = json.dumps(document).encode()
    for status in (200, 422, 429, 500):
        for request in (RESET, LIST):
            error = fault(request, status, {}, body)
            assert error is None or str(error).isprintable()


@pytest.mark.parametrize("body", [b"", b" \n", b"[]", b"{}", b"null", b'{"success":true}', b'{"data":null}'])
def test_any_2xx_without_a_refusal_is_success(body: bytes) -> None:
    for status in (200, 201, 202, 204):
        decipher(RESET, status, {}, body)


@pytest.mark.parametrize("wrap", [False, True])
def test_success_false_is_an_error(wrap: bool) -> None:
    outcome = {"success": False, "errorCode": "evse_occupied", "message": "Busy"}
    body = json.dumps({"data": outcome} if wrap else outcome).encode()
    error = failure(200, body)
    assert isinstance(error, ActionRefused)
    assert (error.error_code, error.message) == ("evse_occupied", "Busy")
    assert str(error) == "charge-point.reset: 200: Busy (evse_occupied)"
    assert failure(200, b'{"success":false}').error_code is None


def test_success_is_an_ordinary_field_of_what_is_read() -> None:
    assert decipher(LIST, 200, {}, b'{"success":false}') == {"success": False}


def test_an_unreadable_success_is_their_fault() -> None:
    assert isinstance(failure(200, b"<html>Please log in</html>"), ServerFault)


def test_the_envelope_is_optional() -> None:
    assert content({"data": {"id": 1}}) == {"id": 1}
    assert content({"id": 1}) == {"id": 1}
    assert content([]) == []


def test_parameters_are_single_path_segments() -> None:
    request = build(OPERATIONS["charge-point.unlock"], {"chargePoint": "../1?x", "evse": 7})
    assert request.path == "/public-api/actions/charge-point/v1.0/..%2F1%3Fx/unlock/7"


@pytest.mark.parametrize("value", ["", ".", "..", True, None, 1.5])
def test_refuses_what_is_no_segment(value: Any) -> None:
    with pytest.raises(ValueError, match="notification"):
        build(OPERATIONS["notifications.read"], {"notification": value})


@pytest.mark.parametrize("given_", [{}, {"chargePoint": 1}, {"chargePoint": 1, "type": "soft", "x": 1}])
def test_refuses_missing_and_unknown_parameters(given_: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"charge-point\.reset"):
        build(OPERATIONS["charge-point.reset"], given_)


def test_bodies_are_json_and_absent_when_there_is_none() -> None:
    assert RESET.body == b""
    assert build(OPERATIONS["notifications.subscribe"], body={"via": "webhook"}).body == b'{"via":"webhook"}'


@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_a_number_that_json_lacks_is_refused(number: float) -> None:
    with pytest.raises(ValueError):
        build(OPERATIONS["notifications.subscribe"], body={"amount": number})


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"message": "Busy", "errors": {"evse": ["is in use"]}}, "the answer is an error: Busy"),
        ({"error": "\x1b[31mno"}, "the answer is an error: it names none"),
        ({"errors": ["no"], "message": None}, "the answer is an error: it names none"),
    ],
)
def test_a_2xx_with_the_body_of_a_refusal_is_no_success(body: Any, said: str) -> None:
    for request in (RESET, LIST):
        error = fault(request, 200, {}, json.dumps(body).encode())
        assert isinstance(error, ServerFault)
        assert error.message == said


@pytest.mark.parametrize(
    "body", [{"errors": [], "error": None}, {"success": True, "error": "none"}, {"data": {"errors": ["x"]}}]
)
def test_a_2xx_that_names_no_error_is_a_success(body: Any) -> None:
    assert decipher(RESET, 200, {}, json.dumps(body).encode()) == body


@pytest.mark.parametrize("number", [b"NaN", b"-Infinity"])
def test_what_strict_readers_refuse_is_no_json(number: bytes) -> None:
    assert failure(200, b'{"data":{"energy":%b}}' % number).message == "the answer is not JSON"


@pytest.mark.parametrize("status", [200, 422])
@pytest.mark.parametrize("part", [b"[],", b'{"a":1},', b"1,"])
def test_millions_of_values_are_refused_before_they_fill_the_memory(part: bytes, status: int) -> None:
    body = b'{"data":[' + part * (MOST_VALUES + 1) + b"1]}"
    tracemalloc.start()
    try:
        error = failure(status, body)
        assert tracemalloc.get_traced_memory()[1] < len(body)
    finally:
        tracemalloc.stop()
    assert status == 422 or error.message == f"the answer holds more than {MOST_VALUES} values"


def test_a_refusal_names_a_bounded_number_of_fields() -> None:
    """Each one takes time, in which the event loop of a worker does nothing else."""
    said = {"errors": {f"field.{n}": ["x" * 999] * 99 for n in range(5_000)}}
    error = failure(422, json.dumps(said).encode())
    assert isinstance(error, Invalid)
    assert len(error.errors) == 1_000
    assert {len(texts) for texts in error.errors.values()} == {20}
    assert {len(text) for texts in error.errors.values() for text in texts} == {200}


def test_a_request_with_too_long_an_address_is_refused_before_it_is_sent() -> None:
    with pytest.raises(ValueError, match=r"notifications\.read: the path or the query is longer"):
        build(OPERATIONS["notifications.read"], {"notification": "x" * 70_000})
    with pytest.raises(ValueError, match="longer than"):
        build_at("GET", "/public-api/resources/users/v1.0", query=[("cursor", "é" * 20_000)])
