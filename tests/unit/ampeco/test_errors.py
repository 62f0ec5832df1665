"""Every answer that is not a success becomes an error of the tree, and says what a caller needs to act."""

import json
from typing import Any

import pytest

from ampeco.errors import (
    BODY_CHARS,
    AmpecoError,
    ApiError,
    BadRequest,
    ChargePointRefused,
    Conflict,
    CriteriaNotMet,
    FeatureDisabled,
    Forbidden,
    Invalid,
    KeyRefused,
    NoAnswer,
    NotFound,
    NotSent,
    NotSupported,
    RateLimited,
    RequestRefused,
    ServerFault,
    Unauthorized,
    Unreachable,
)
from ampeco.operations import OPERATIONS
from ampeco.wire import build, decipher

RESET = build(OPERATIONS["charge-point.reset"], {"chargePoint": "12", "type": "soft"})


def failure(status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> ApiError:
    with pytest.raises(ApiError) as caught:
        decipher(RESET, status, headers or {}, body)
    return caught.value


LEAVES: dict[int, type[ApiError]] = {
    400: BadRequest,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    405: FeatureDisabled,
    406: ChargePointRefused,
    409: Conflict,
    412: CriteriaNotMet,
    422: Invalid,
    429: RateLimited,
    501: NotSupported,
}


def expected(status: int) -> type[ApiError]:
    return LEAVES.get(status, RequestRefused if 400 <= status < 500 else ServerFault)


@pytest.mark.parametrize("status", range(100, 600))
def test_every_status_lands_in_the_tree(status: int) -> None:
    if 200 <= status < 300:
        assert decipher(RESET, status, {}, b"") is None
        return
    error = failure(status, b'{"message":"so it is"}')
    assert type(error) is expected(status)
    assert (error.operation, error.status) == ("charge-point.reset", status)
    assert str(error).startswith(f"charge-point.reset: {status}: ")


def test_every_class_of_the_tree_has_a_reason_of_its_own() -> None:
    def tree(root: type[AmpecoError]) -> list[type[AmpecoError]]:
        ours = [child for child in root.__subclasses__() if child.__module__ == root.__module__]
        return [root, *(leaf for child in ours for leaf in tree(child))]

    reasons = [error.reason for error in tree(ApiError)]
    assert len(reasons) == len(set(reasons)) == 19


def test_callers_can_catch_what_they_treat_alike() -> None:
    assert issubclass(NotSent, Unreachable)
    assert issubclass(NoAnswer, Unreachable)
    assert issubclass(Unauthorized, KeyRefused)
    assert issubclass(Forbidden, KeyRefused)
    for error in (BadRequest, NotFound, FeatureDisabled, Conflict, CriteriaNotMet, Invalid):
        assert issubclass(error, RequestRefused)
    for error in (RateLimited, ChargePointRefused, NotSupported):
        assert error.__bases__ == (ApiError,)


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
        ({"Retry-After": "1.5"}, 1.5),
        ({"Retry-After": "99999999"}, 86_400.0),
        ({"Retry-After": "Fri, 31 Dec 9999 23:59:59 GMT", "Date": "Tue, 24 Nov 2026 03:50:00 GMT"}, 86_400.0),
        ({"Retry-After": "1795492320", "Date": "Tue, 24 Nov 2026 03:50:00 GMT"}, 120.0),
        ({"Retry-After": "2", "X-RateLimit-Reset": "60"}, 2.0),
        ({"X-RateLimit-Reset": "60"}, 60.0),
        ({"X-RateLimit-Reset": "1795492320", "Date": "Tue, 24 Nov 2026 03:50:00 GMT"}, 120.0),
        ({"X-RateLimit-Reset": "1795492320500", "Date": "Tue, 24 Nov 2026 03:50:00 GMT"}, 120.5),
        ({"X-RateLimit-Reset": "1795492000", "Date": "Tue, 24 Nov 2026 03:50:00 GMT"}, 0.0),
        ({"X-RateLimit-Reset": "9" * 15, "Date": "Tue, 24 Nov 2026 03:50:00 GMT"}, 86_400.0),
        ({"X-RateLimit-Reset": "1795492320"}, None),
        ({"X-RateLimit-Reset": "60, 60"}, None),
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


def test_the_pause_asked_for_is_read_from_a_fault_too() -> None:
    assert failure(503, b"", {"Retry-After": "3"}).retry_after_s == 3.0
    assert failure(503, b"", {"X-RateLimit-Reset": "3"}).retry_after_s is None


def test_the_page_of_a_proxy_is_kept_beside_the_error_and_not_in_its_text() -> None:
    page = "<html>" + "personal data \u20ac" * 2000 + "</html>"
    error = failure(502, page.encode())
    assert error.body == page
    assert "personal" not in f"{error} {error!r}"
    assert len(failure(502, page.encode() * 100).body) == BODY_CHARS


@pytest.mark.parametrize(
    ("headers", "request_id"),
    [
        ({}, None),
        ({"X-Request-ID": "abc"}, "abc"),
        ({"x-correlation-id": "abc", "CF-Ray": "later"}, "abc"),
        ({"X-Request-Id": " ", "X-Amzn-Trace-Id": "Root=1"}, "Root=1"),
        ({"X-Request-Id": "a\nb" + "c" * 1000}, "a b" + "c" * 97),
    ],
)
def test_the_id_of_the_request_is_kept_whatever_it_is_called(
    headers: dict[str, str], request_id: str | None
) -> None:
    for status, body in ((404, b""), (422, b""), (500, b""), (200, b"<html>"), (200, b'{"success":false}')):
        assert failure(status, body, headers).request_id == request_id


@pytest.mark.parametrize(
    ("errors", "fields"),
    [
        (None, {}),
        ([], {}),
        (["no field named"], {}),
        ({}, {}),
        ({"a": None}, {"a": ["None"]}),
        ({"a": []}, {"a": []}),
        ({"webhook.callbackUrl": ["must be https"]}, {"webhook.callbackUrl": ["must be https"]}),
        ({"a": {"code": 7}}, {"a": ["{'code': 7}"]}),
        ({"a\nb": ["c\nd"]}, {"a b": ["c d"]}),
    ],
)
def test_field_errors_of_odd_shapes_do_no_harm(errors: Any, fields: dict[str, list[str]]) -> None:
    error = failure(422, json.dumps({"message": "no", "errors": errors}).encode())
    assert isinstance(error, Invalid)
    assert error.errors == fields


def test_a_message_is_one_short_line() -> None:
    error = failure(400, json.dumps({"message": "a\nb\x00c" * 500}).encode())
    assert error.message.isprintable()
    assert len(error.message) <= 200
