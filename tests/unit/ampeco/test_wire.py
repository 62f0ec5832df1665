"""Requests as AMPECO expects them; every answer becomes data or an error of the tree."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ampeco import operations
from ampeco.errors import (
    ActionRefused,
    AmpecoError,
    ApiError,
    Conflict,
    Forbidden,
    Invalid,
    KeyRefused,
    NoAnswer,
    NotFound,
    NotSent,
    RateLimited,
    RequestRefused,
    ServerFault,
    Unauthorized,
    Unreachable,
)
from ampeco.operations import OPERATIONS
from ampeco.wire import WireRequest, build, content, decipher, page

RESET = build(operations.RESET_CHARGE_POINT, {"chargePoint": "12", "type": "soft"})
LIST = build(operations.LIST_SUBSCRIPTIONS)


def failure(status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> ApiError:
    with pytest.raises(ApiError) as caught:
        decipher(RESET, status, headers or {}, body)
    return caught.value


def fault(request: WireRequest, status: int, headers: dict[str, str], body: bytes) -> ApiError | None:
    try:
        page(request.operation, decipher(request, status, headers, body))
    except ApiError as error:
        return error
    return None


def expected(status: int) -> type[ApiError]:
    special = {401: Unauthorized, 403: Forbidden, 404: NotFound, 409: Conflict, 412: Conflict, 422: Invalid}
    if status == 429:
        return RateLimited
    return special.get(status, RequestRefused if 400 <= status < 500 else ServerFault)


@pytest.mark.parametrize("status", range(200, 600))
def test_every_status_lands_in_the_tree(status: int) -> None:
    if status < 300:
        assert decipher(RESET, status, {}, b"") is None
        return
    error = failure(status, b'{"message":"so it is"}')
    assert type(error) is expected(status)
    assert (error.operation, error.status) == ("charge-point.reset", status)
    assert str(error).startswith(f"charge-point.reset: {status}")


def test_every_class_of_the_tree_has_a_reason_of_its_own() -> None:
    def tree(root: type[AmpecoError]) -> list[type[AmpecoError]]:
        return [root, *(leaf for child in root.__subclasses__() for leaf in tree(child))]

    reasons = [error.reason for error in tree(ApiError)]
    assert len(reasons) == len(set(reasons)) == 14


def test_callers_can_catch_what_they_treat_alike() -> None:
    assert issubclass(NotSent, Unreachable)
    assert issubclass(NoAnswer, Unreachable)
    assert issubclass(Unauthorized, KeyRefused)
    assert issubclass(Forbidden, KeyRefused)
    for error in (NotFound, Conflict, Invalid):
        assert issubclass(error, RequestRefused)
    assert not issubclass(RateLimited, RequestRefused)


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


def test_field_errors_are_attached() -> None:
    body = b'{"message":"The data was invalid.","errors":{"a":["x","y"],"b":"z"}}'
    error = failure(422, body)
    assert isinstance(error, Invalid)
    assert error.errors == {"a": ["x", "y"], "b": ["z"]}
    assert str(error) == "charge-point.reset: 422: The data was invalid."
    assert failure(422, b"<html>").errors == {}


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "900"}, 900.0),
        ({"retry-after": " 7 "}, 7.0),
        ({"Retry-After": "-7"}, None),
        ({"Retry-After": "9" * 4000}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "Tue, 24 Nov 2026 04:00:00 GMT"}, None),
        ({"Retry-After": "Tue, 24 Nov 2026 04:00:00 GMT", "Date": "Tue, 24 Nov 2026 03:50:00 GMT"}, 600.0),
        ({"Retry-After": "Tue, 24 Nov 2026 03:00:00 GMT", "Date": "Tue, 24 Nov 2026 03:50:00 GMT"}, 0.0),
    ],
)
def test_the_pause_asked_for_is_read(headers: dict[str, str], seconds: float | None) -> None:
    error = failure(429, b"", headers)
    assert isinstance(error, RateLimited)
    assert error.retry_after_s == seconds


def test_the_body_is_kept_beside_the_error_and_not_in_its_text() -> None:
    error = failure(502, b"<html>personal data</html>" * 1000)
    assert "personal" not in f"{error} {error!r}"
    assert error.body.startswith("<html>personal")
    assert len(error.body) == 2000


def test_a_message_is_one_short_line() -> None:
    error = failure(400, json.dumps({"message": "a\nb\x00c" * 500}).encode())
    assert error.message.isprintable()
    assert len(error.message) <= 200


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
    assert failure(200, b'{"success":false}').error_code is None


def test_success_is_an_ordinary_field_of_what_is_read() -> None:
    assert decipher(LIST, 200, {}, b'{"success":false}') == {"success": False}


def test_an_unreadable_success_is_their_fault() -> None:
    assert isinstance(failure(200, b"<html>Please log in</html>"), ServerFault)


def test_the_envelope_is_optional() -> None:
    assert content({"data": {"id": 1}}) == {"id": 1}
    assert content({"id": 1}) == {"id": 1}
    assert content([]) == []


@pytest.mark.parametrize(
    ("rest", "following"),
    [
        ({}, None),
        ({"meta": {"next_cursor": "abc"}}, (("cursor", "abc"),)),
        ({"meta": {"next_cursor": None, "cursor": "x"}, "links": {"next": "https://t/?cursor=y"}}, None),
        ({"meta": {"cursor": "abc"}}, (("cursor", "abc"),)),
        (
            {"links": {"next": "https://elsewhere.example/x?cursor=a%20b&per_page=5"}},
            (("cursor", "a b"), ("per_page", "5")),
        ),
        ({"meta": {"current_page": 1}, "links": {"next": "/x?page=2"}}, (("page", "2"),)),
        ({"links": {"next": None}}, None),
        ({"links": {"next": "http://[oops?cursor=1"}}, None),
        ({"meta": [], "links": "x"}, None),
    ],
)
def test_the_next_page_is_found(rest: dict[str, Any], following: object) -> None:
    found = page(LIST.operation, {"data": [1], **rest})
    assert (found.items, found.following) == ([1], following)


def test_parameters_are_single_path_segments() -> None:
    request = build(operations.UNLOCK_EVSE, {"chargePoint": "../1?x", "evse": 7})
    assert request.path == "/public-api/actions/charge-point/v1.0/..%2F1%3Fx/unlock/7"


@pytest.mark.parametrize("value", ["", ".", "..", True, None, 1.5])
def test_refuses_what_is_no_segment(value: Any) -> None:
    with pytest.raises(ValueError, match="notification"):
        build(operations.READ_SUBSCRIPTION, {"notification": value})


@pytest.mark.parametrize("given_", [{}, {"chargePoint": 1}, {"chargePoint": 1, "type": "soft", "x": 1}])
def test_refuses_missing_and_unknown_parameters(given_: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"charge-point\.reset"):
        build(operations.RESET_CHARGE_POINT, given_)


def test_bodies_are_json_and_absent_when_there_is_none() -> None:
    assert RESET.body == b""
    assert build(operations.SUBSCRIBE, body={"via": "webhook"}).body == b'{"via":"webhook"}'


@pytest.mark.parametrize("name", OPERATIONS)
def test_the_table_of_operations_agrees_with_itself(name: str) -> None:
    operation = OPERATIONS[name]
    assert operation.name == name
    assert operation.path.startswith("/public-api/")
    assert operation.idempotent or operation.kind != "read"
    assert (operation.method == "GET") == (operation.kind == "read") or operation.kind == "action"
    assert operation.path.startswith("/public-api/actions/") == (operation.kind == "action")
    path = build(operation, dict.fromkeys(operation.parameters, "7")).path
    assert "{" not in path
