"""`client.call`: operations by method and path, under the rules of all other calls."""

from typing import Any

import httpx2
import pytest

from ampeco.errors import ActionRefused, ApiError, NotFound, NotSent, ServerFault
from ampeco.operations import (
    OPERATIONS,
    VERSIONS,
    check_address,
    is_declared,
    normal_path,
    operation_at,
    operation_named,
)
from tests.unit.ampeco.scripted import URL, Caller, Journal, Tenant, ok

NEWER = "/public-api/actions/session/v9.0/12/move"


def test_a_newer_operation_is_called_with_body_and_query(through: Caller) -> None:
    gate, tenant = Journal(), Tenant([ok({"data": {"id": 1}}, 202)])
    answer = through(
        tenant,
        lambda c: c.call("POST", NEWER, body={"evseId": 7}, query={"dry": True, "id": [1, 2]}),
        gate,
    )
    assert answer == {"data": {"id": 1}}
    assert tenant.bodies == [{"evseId": 7}]
    assert str(tenant.requests[0].url) == f"{URL}{NEWER}?dry=true&id%5B%5D=1&id%5B%5D=2"
    assert gate.seen == [("admit", f"POST {NEWER}", NEWER), ("called", f"POST {NEWER}", "ok", "202")]


def test_an_empty_answer_is_none(through: Caller) -> None:
    assert through(Tenant([ok(status=204)]), lambda c: c.call("DELETE", NEWER)) is None


@pytest.mark.parametrize(
    ("method", "sends"), [("GET", 3), ("PUT", 3), ("DELETE", 3), ("POST", 1), ("PATCH", 1)]
)
def test_what_we_do_not_know_is_repeated_only_where_http_says_so(
    through: Caller, method: Any, sends: int
) -> None:
    for failure in (lambda: ok(status=503), lambda: httpx2.ReadTimeout(""), lambda: ok(status=429)):
        tenant = Tenant([failure() for _ in range(3)])
        with pytest.raises(ApiError):
            through(tenant, lambda c: c.call(method, "/public-api/resources/robots/v1.0/7"))
        assert len(tenant.requests) == sends


def test_what_never_left_is_sent_once_more(through: Caller) -> None:
    tenant = Tenant([httpx2.ConnectError("refused"), ok()])
    through(tenant, lambda c: c.call("POST", NEWER))
    assert len(tenant.requests) == 2
    with pytest.raises(NotSent):
        through(Tenant([httpx2.ConnectError("refused")] * 2), lambda c: c.call("POST", NEWER))


@pytest.mark.parametrize(
    ("status", "document", "kind"),
    [(404, None, NotFound), (500, None, ServerFault), (200, {"success": False}, ActionRefused)],
)
def test_its_errors_are_those_of_every_call(
    through: Caller, status: int, document: Any, kind: type[ApiError]
) -> None:
    with pytest.raises(kind) as caught:
        through(Tenant([ok(document, status)]), lambda c: c.call("POST", NEWER))
    assert caught.value.operation == f"POST {NEWER}"


def test_a_gate_can_refuse_it(through: Caller) -> None:
    gate, tenant = Journal(frozenset({f"POST {NEWER}"})), Tenant([])
    with pytest.raises(KeyboardInterrupt):
        through(tenant, lambda c: c.call("POST", NEWER), gate)
    assert tenant.requests == []


def test_an_operation_of_the_table_keeps_its_name_and_its_rules(through: Caller) -> None:
    path = "/public-api/actions/charge-point/v1.0/12/reset/soft"
    gate, tenant = Journal(), Tenant([ok(status=503), ok()])
    through(tenant, lambda c: c.call("POST", path), gate)
    assert {entry[1] for entry in gate.seen} == {"charge-point.reset"}
    assert len(tenant.requests) == 2, "a reset may be repeated"


@pytest.mark.parametrize("key", VERSIONS, ids=" ".join)
def test_every_operation_of_the_table_is_found_by_its_path(key: tuple[str, str]) -> None:
    operation = VERSIONS[key]
    path = operation.path.format_map(dict.fromkeys(operation.parameters, "7"))
    assert operation_at(operation.method, path) is operation
    assert is_declared({f"{operation.method} {operation.path}"}, operation, path)
    check_address(f"{operation.method} {operation.path}")


WRONG = [
    "",
    "public-api/actions/x",
    "/actions/x",
    "/public-api",
    "/public-api/",
    "/public-apix/y",
    "/public-api/../admin",
    "/public-api/actions/./x",
    "/public-api/actions/%2e%2E/x",
    "/public-api/actions/%252e%252e/x",
    "/public-api/actions/..%2Fx",
    "/public-api/actions/a%5Cb",
    "/public-api/actions/a\\b",
    "/public-api//x",
    "/public-api/actions/x/",
    "/public-api/actions/x?a=b",
    "/public-api/actions/x%3Fa=b",
    "/public-api/actions/x#a",
    "/public-api/actions/x%23a",
    "/public-api/actions/x%00",
    "/public-api/actions/x\r\nHost: evil.example",
    "/public-api/actions/%FF",
    "https://evil.example/public-api/actions/x",
    "//evil.example/public-api/actions/x",
    "@evil.example/public-api/actions/x",
    "/public-api/actions/{id}/x",
]


@pytest.mark.parametrize("path", WRONG)
def test_a_path_that_could_lead_elsewhere_is_refused_and_not_sent(through: Caller, path: str) -> None:
    tenant = Tenant([])
    with pytest.raises(ValueError):
        through(tenant, lambda c: c.call("POST", path))
    assert tenant.requests == []


@pytest.mark.parametrize("method", ["post", "HEAD", "CONNECT", "", "POST /public-api/x"])
def test_a_method_that_the_api_does_not_have_is_refused(through: Caller, method: Any) -> None:
    with pytest.raises(ValueError, match="method"):
        through(Tenant([]), lambda c: c.call(method, NEWER))


def test_one_path_has_one_spelling() -> None:
    """Or a spelling that no declaration names would reach what a declaration should guard."""
    encoded = "/public-api/%61ctions/charge-point/v1%2E0/12/%72eset/soft"
    assert normal_path(encoded) == "/public-api/actions/charge-point/v1.0/12/reset/soft"
    assert operation_at("POST", encoded) is OPERATIONS["charge-point.reset"]
    assert operation_at("GET", "/public-api/%61ctions/robots").kind == "action"
    assert normal_path("/public-api/resources/tags/v1.0/a b:\u00e4") == (
        "/public-api/resources/tags/v1.0/a%20b%3A%C3%A4"
    )


@pytest.mark.parametrize(
    ("entry", "declared"),
    [
        ("POST /public-api/actions/session/v9.0/{session}/move", True),
        ("POST /public-api/actions/session/v9.0/{s}/{verb}", True),
        (f"POST {NEWER}", True),
        ("POST /public-api/actions/session/v9.0/13/move", False),
        ("PUT /public-api/actions/session/v9.0/{session}/move", False),
        ("POST /public-api/actions/session/v9.1/{session}/move", False),
        ("POST /public-api/actions/session/v9.0/{session}", False),
        ("POST /public-api/actions/session/v9.0/{session}/move/{more}", False),
        ("session.move", False),
    ],
)
def test_a_declaration_names_it_by_method_and_path(entry: str, declared: bool) -> None:
    assert is_declared({"charge-point.reset", entry}, operation_at("POST", NEWER), NEWER) is declared


@pytest.mark.parametrize(
    "entry",
    [
        "POST",
        "POST ",
        "post /public-api/actions/x",
        "POST /x",
        "POST /public-api/../x",
        "POST https://evil/{x}",
    ],
)
def test_a_declaration_that_is_no_method_and_path_is_refused(entry: str) -> None:
    with pytest.raises(ValueError):
        check_address(entry)


def test_the_name_that_an_error_gives_leads_back_to_the_operation() -> None:
    assert operation_named("charge-point.reset") is OPERATIONS["charge-point.reset"]
    for method, kind in (("GET", "read"), ("POST", "write")):
        operation = operation_at(method, "/public-api/resources/robots/v1.0/7")
        assert operation_named(operation.name) == operation
        assert operation.kind == kind
    assert operation_named("no such operation") is None
