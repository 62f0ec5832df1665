"""What the vendor's own document says may go wrong, to each of its operations, and what our client makes of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice

import httpx2
import pytest

from ampeco import errors
from ampeco.client import Client
from ampeco.errors import ApiError, NoAnswer, ServerFault
from tests.contract.vendor_bodies import variants
from tests.contract.vendor_document import needs_the_document
from tests.contract.vendor_stand_in import StandIn, body_of, call, described

pytestmark = needs_the_document

MEANT = {
    400: errors.BadRequest,
    401: errors.Unauthorized,
    403: errors.Forbidden,
    404: errors.NotFound,
    405: errors.FeatureDisabled,
    406: errors.ChargePointRefused,
    409: errors.Conflict,
    412: errors.CriteriaNotMet,
    422: errors.Invalid,
    429: errors.RateLimited,
    501: errors.NotSupported,
}
LIMITS = {"X-RateLimit-Limit": "60", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "7"}


def unclear() -> Iterator[httpx2.Response | Exception]:
    """Answers that leave open whether the call was carried out."""
    yield httpx2.ReadTimeout("no answer")
    for status in (500, 503):
        yield httpx2.Response(status, text="<html>a proxy</html>")


def test_each_refusal_is_its_error_with_the_words_of_its_body(client: Client, stand_in: StandIn) -> None:
    count = 0
    for each, ours in described():
        for status, node in each.answers.items():
            if status < 300:
                continue
            documents = islice(variants(node, each.path, by_chance=0), 2) if node else [("empty", None)]
            for _, document in documents:
                content = b"" if document is None else json.dumps(document)
                answer = httpx2.Response(status, content=content, headers=LIMITS if status == 429 else {})
                stand_in.expect(each, *3 * [answer])
                with pytest.raises(ApiError) as raised:
                    call(client, each, body_of(each))
                count += 1
                error = raised.value
                assert type(error) is MEANT[status], (ours.name, status)
                assert error.status == status
                repeated = status == 429 and ours.idempotent
                assert len(stand_in.answers) == (0 if repeated else 2), (ours.name, status)
                if isinstance(document, dict) and isinstance(document.get("message"), str):
                    assert error.message == " ".join(document["message"].split()), (ours.name, status)
                if status == 429:
                    assert error.retry_after_s == 7
                if isinstance(error, errors.Invalid):
                    assert error.errors.keys() == ((document or {}).get("errors") or {}).keys()
    assert count > 3_000


def test_only_what_is_harmless_is_repeated_after_an_unclear_outcome(
    client: Client, stand_in: StandIn
) -> None:
    for each, ours in described():
        for answer in unclear():
            stand_in.expect(each, *3 * [answer])
            with pytest.raises((NoAnswer, ServerFault)):
                call(client, each, body_of(each))
            times = 3 - len(stand_in.answers)
            harmless = ours.idempotent or each.method in ("GET", "PUT", "DELETE")
            assert times == (3 if harmless else 1), (ours.name, times)
