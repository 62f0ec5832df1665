"""What an answer says about AMPECO's rate limits is read, in every likely form, and never believed without bound."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ampeco.rate_limits import LONGEST_PAUSE_S, RateLimit, retry_after_s

DATE = "Tue, 24 Nov 2026 03:50:00 GMT"


@pytest.mark.parametrize(
    ("headers", "seen"),
    [
        ({}, None),
        ({"Retry-After": "5"}, None),
        ({"X-RateLimit-Limit": "60"}, RateLimit(60, None, None)),
        ({"x-ratelimit-remaining": " 0 "}, RateLimit(None, 0, None)),
        ({"X-RateLimit-Limit": "60", "X-RateLimit-Remaining": "59"}, RateLimit(60, 59, None)),
        ({"X-RateLimit-Remaining": "-1", "X-RateLimit-Limit": "sixty"}, None),
        ({"X-RateLimit-Remaining": "9" * 5000}, None),
        ({"X-RateLimit-Remaining": "\u0663"}, None),
        ({"X-RateLimit-Reset": "30"}, RateLimit(None, None, 30.0)),
        ({"X-RateLimit-Reset": "1795492230", "Date": DATE}, RateLimit(None, None, 30.0)),
        ({"X-RateLimit-Reset": "Tue, 24 Nov 2026 03:50:30 GMT", "Date": DATE}, RateLimit(None, None, 30.0)),
        ({"X-RateLimit-Reset": "1795492230"}, None),
    ],
)
def test_the_headers_of_the_limit_are_read(headers: dict[str, str], seen: RateLimit | None) -> None:
    assert RateLimit.of(headers) == seen


TEXTS = (
    st.text()
    | st.integers(-10, 10**16).map(str)
    | st.floats(0, 1e15).map(str)
    | st.sampled_from([DATE, "Fri, 31 Dec 9999 23:59:59 GMT", "Mon, 01 Jan 0001 00:00:00 -0000"])
)


@given(
    st.dictionaries(
        st.sampled_from(
            ["Retry-After", "Date", "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"]
        ),
        TEXTS,
    ),
    st.sampled_from([429, 503]),
)
def test_any_header_is_read_within_bounds_or_not_at_all(headers: dict[str, str], status: int) -> None:
    seen = RateLimit.of(headers)
    for pause_s in (retry_after_s(status, headers), seen.reset_s if seen else None):
        assert pause_s is None or 0.0 <= pause_s <= LONGEST_PAUSE_S
