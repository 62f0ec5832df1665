"""Walks through lists: cursors, page numbers, links, and where a walk ends."""

import json
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ampeco import facts
from ampeco.errors import ServerFault
from ampeco.listing import MAX_ENTRIES, Listing, narrowing
from ampeco.operations import OPERATIONS, VERSIONS, Operation
from tests.unit.ampeco.scripted import Caller, Tenant, ok

SESSIONS = OPERATIONS["resources.sessions.list"]
CONTRACT = json.loads(Path(facts.__file__).with_name("contract.json").read_text())["operations"]
LISTS = [operation for operation in VERSIONS.values() if operation.name.endswith(".list")]


def walked(
    answer: Callable[[dict[str, str]], Any], operation: Operation = SESSIONS, **options: Any
) -> tuple[list[Any], list[dict[str, str]]]:
    """Entries of a whole walk, and the queries it asked."""
    listing = Listing(
        operation, dict.fromkeys(operation.parameters, "7"), item=lambda entry: entry, **options
    )
    asked: list[dict[str, str]] = []
    found: list[Any] = []
    request: Any = listing.first()
    while request is not None:
        asked.append(dict(request.query))
        entries, request = listing.read(answer(asked[-1]))
        found += entries
    return found, asked


def scripted(*documents: Any) -> Callable[[dict[str, str]], Any]:
    left = list(documents)
    return lambda _: left.pop(0)


def test_cursors_are_followed_until_there_is_none() -> None:
    found, asked = walked(
        scripted(
            {"data": [1, 2], "meta": {"next_cursor": "b"}},
            {"data": [], "meta": {"next_cursor": "c"}},
            {"data": [3], "meta": {"next_cursor": None}},
        ),
        per_page=2,
    )
    assert found == [1, 2, 3]
    assert asked == [{"cursor": cursor, "per_page": "2"} for cursor in ("", "b", "c")]


def test_the_other_name_of_the_cursor_is_followed() -> None:
    found, asked = walked(scripted({"data": [1], "meta": {"cursor": "b"}}, {"data": [2], "meta": {}}))
    assert found == [1, 2]
    assert asked[1]["cursor"] == "b"


@pytest.mark.parametrize("links", [False, True])
def test_page_numbers_are_followed_with_and_without_links(links: bool) -> None:
    def numbered(query: dict[str, str]) -> Any:
        number = int(query.get("page", 1))
        document: dict[str, Any] = {"data": [number], "meta": {"current_page": number, "last_page": 3}}
        if links:
            following = f"https://tenant.example/x?page={number + 1}" if number < 3 else None
            document["links"] = {"next": following}
        return document

    found, asked = walked(numbered)
    assert found == [1, 2, 3]
    assert [query.get("page") for query in asked] == [None, "2", "3"]
    assert "cursor" not in asked[1]


def test_a_link_is_followed_before_a_cursor() -> None:
    link = "https://tenant.example/x?cursor=of-the-link&filter%5Bstatus%5D=active"
    document = {"data": [1], "meta": {"next_cursor": "of-meta"}, "links": {"next": link}}
    _, asked = walked(scripted(document, {"data": []}))
    assert asked[1] == {"cursor": "of-the-link", "filter[status]": "active", "per_page": "100"}


@pytest.mark.parametrize("operation", LISTS, ids=lambda operation: f"{operation.name} {operation.version}")
def test_the_first_page_is_asked_for_as_the_contract_says(operation: Operation) -> None:
    """Where the contract does not have the listing, no cursor is made up."""
    _, (asked,) = walked(scripted({"data": []}), operation)
    contract = CONTRACT.get(f"{operation.method} {operation.path}")
    first = {"empty-cursor": {"cursor": ""}, "page": {"page": "1"}}
    if contract is None:
        assert asked == {"per_page": "100"}
        return
    known = contract.get("parameters", {}).keys()
    size = {"per_page": "100"} if "query per_page" in known else {}
    assert asked == first.get(contract.get("paging"), {}) | size
    assert {f"query {name}" for name in asked} <= known


def test_every_listing_of_the_contract_that_has_pages_is_walked() -> None:
    paged = {address for address, contract in CONTRACT.items() if "paging" in contract}
    assert paged <= {f"{operation.method} {operation.path}" for operation in LISTS}


@pytest.mark.parametrize("operation", LISTS, ids=lambda operation: f"{operation.name} {operation.version}")
def test_what_the_answer_names_is_followed_everywhere(operation: Operation) -> None:
    link = "https://tenant.example/elsewhere?cursor=b"
    found, asked = walked(scripted({"data": [1], "links": {"next": link}}, {"data": [2]}), operation)
    assert (found, asked[1]["cursor"]) == ([1, 2], "b")


def test_a_size_of_pages_that_is_asked_for_is_sent_everywhere() -> None:
    currencies = OPERATIONS["resources.currencies.list"]
    assert currencies.paging == "none"
    assert walked(scripted({"data": []}), currencies, per_page=7)[1] == [{"per_page": "7"}]


def test_a_cursor_that_is_a_number_is_followed() -> None:
    pages = scripted({"data": [1], "meta": {"next_cursor": 0}}, {"data": [2], "meta": {"next_cursor": False}})
    found, asked = walked(pages)
    assert found == [1, 2]
    assert asked[1]["cursor"] == "0"


def test_an_empty_cursor_beside_page_numbers_is_no_end() -> None:
    found, asked = walked(
        scripted(
            {"data": [1], "meta": {"next_cursor": None, "current_page": 1, "last_page": 2}},
            {"data": [2], "meta": {"next_cursor": None, "current_page": 2, "last_page": 2}},
        )
    )
    assert found == [1, 2]
    assert asked[1]["page"] == "2"


@pytest.mark.parametrize(
    "link",
    [
        "https://evil.example/steal?cursor=b",
        "//evil.example/steal?cursor=b",
        "http://tenant.example:1/public-api/actions/users/v1.0/7/add-balance?cursor=b",
        "../../../elsewhere?cursor=b",
        "?cursor=b#fragment",
    ],
)
def test_a_walk_never_leaves_the_path_of_the_list(link: str) -> None:
    listing = Listing(SESSIONS, item=lambda entry: entry)
    listing.first()
    _, following = listing.read({"data": [], "links": {"next": link}})
    assert following is not None
    assert following.path == "/public-api/resources/sessions/v1.0"
    assert following.query == (("cursor", "b"), ("per_page", "100"))


def test_the_token_never_follows_a_link_to_another_host(through: Caller) -> None:
    link = "https://evil.example/public-api/resources/sessions/v1.0?cursor=b"
    tenant = Tenant([ok({"data": [{"id": 1}], "links": {"next": link}}), ok({"data": []})])

    def ids(client: Any) -> Any:
        entries = client.resources.sessions.list()
        return collected(entries) if through.kind == "async" else list(entries)

    through(tenant, ids)
    assert [str(request.url.copy_with(query=None)) for request in tenant.requests] == [
        "https://tenant.example/public-api/resources/sessions/v1.0"
    ] * 2


@pytest.mark.parametrize("document", [[1, 2], {"data": [1, 2]}, {"data": [1, 2], "meta": [], "links": "x"}])
def test_a_list_without_any_sign_of_more_is_one_page(document: Any) -> None:
    assert walked(scripted(document))[0] == [1, 2]


def test_an_empty_list_has_no_entries() -> None:
    assert walked(scripted({"data": [], "meta": {"next_cursor": None}}))[0] == []


@pytest.mark.parametrize("document", [None, {"data": None}, {"data": {"id": 1}}, {}, "text", 7])
def test_what_is_no_list_is_a_fault_that_keeps_the_answer(document: Any) -> None:
    with pytest.raises(ServerFault, match="not a list") as caught:
        walked(scripted(document))
    assert caught.value.operation == "resources.sessions.list"
    if isinstance(document, dict) and document.get("data"):
        assert caught.value.body == '{"data": {"id": 1}}'


def test_a_page_of_many_times_what_was_asked_for_is_a_fault() -> None:
    """Reading so many entries would hold up everything else in the process."""
    assert len(walked(scripted({"data": [1] * MAX_ENTRIES}))[0]) == MAX_ENTRIES
    with pytest.raises(ServerFault, match="more than 10000 entries"):
        walked(scripted({"data": [1] * (MAX_ENTRIES + 1)}))


@pytest.mark.parametrize(
    "more", [{"links": {"next": "/x?cursor=" + "\u20ac" * 4_000}}, {"meta": {"next_cursor": "x" * 70_000}}]
)
def test_a_next_page_with_too_long_an_address_is_a_fault(more: dict[str, Any]) -> None:
    with pytest.raises(ServerFault, match="address of the next page is too long"):
        walked(scripted({"data": [1], **more}))


@pytest.mark.parametrize("link", ["https://tenant.example/x/page/2", "?", "?cursor=", "http://[::1?cursor=b"])
def test_a_next_page_that_cannot_be_asked_for_is_a_fault_and_no_end(link: str) -> None:
    with pytest.raises(ServerFault, match="no address that can be used"):
        walked(scripted({"data": [1], "links": {"next": link}}))
    for end in ({"next_cursor": None}, {"current_page": 2, "last_page": 2}):
        assert walked(scripted({"data": [1], "links": {"next": link}, "meta": end}))[0] == [1]


@pytest.mark.parametrize(
    "more",
    [
        {"meta": {"next_cursor": "same"}},
        {"links": {"next": "https://tenant.example/x?cursor=same"}},
        {"meta": {"current_page": 1, "last_page": 9}},
    ],
)
def test_a_list_that_leads_back_to_an_earlier_page_is_a_fault(more: dict[str, Any]) -> None:
    with pytest.raises(ServerFault, match="page 2 of the list leads back to an earlier page"):
        walked(lambda _: {"data": [1], **more})


def test_a_longer_loop_is_found_too() -> None:
    following = {"": "b", "b": "c", "c": "b"}
    with pytest.raises(ServerFault, match="page 3 of the list leads back"):
        walked(lambda query: {"data": [1], "meta": {"next_cursor": following[query["cursor"]]}})


def test_a_list_without_an_end_is_a_fault() -> None:
    with pytest.raises(ServerFault, match="does not end after 7 pages"):
        walked(lambda query: {"data": [1], "meta": {"next_cursor": query["cursor"] + "x"}}, max_pages=7)


def test_a_list_of_just_as_many_pages_is_none() -> None:
    def three(query: dict[str, str]) -> Any:
        return {"data": [1], "meta": {"next_cursor": {"": "b", "b": "c"}.get(query["cursor"])}}

    assert walked(three, max_pages=3)[0] == [1, 1, 1]
    with pytest.raises(ServerFault):
        walked(three, max_pages=2)


def test_a_walk_can_be_started_again() -> None:
    listing = Listing(SESSIONS, item=lambda entry: entry)
    for _ in range(2):
        listing.first()
        _, following = listing.read({"data": [], "meta": {"next_cursor": "b"}})
        assert following is not None


def test_filters_and_includes_are_spelled_as_ampeco_wants_them() -> None:
    filters = {
        "status": "active",
        "userId": [1, 2],
        "paid": True,
        "since": datetime(2026, 11, 24, 3, tzinfo=UTC),
    }
    assert narrowing(filters, ["user", "evse"], {"sort": "-id", "day": date(2026, 11, 24)}) == (
        ("filter[status]", "active"),
        ("filter[userId][]", "1"),
        ("filter[userId][]", "2"),
        ("filter[paid]", "true"),
        ("filter[since]", "2026-11-24T03:00:00Z"),
        ("include[]", "user"),
        ("include[]", "evse"),
        ("sort", "-id"),
        ("day", "2026-11-24"),
    )


@pytest.mark.parametrize(
    "value",
    [[], (), set(), None, {"a": 1}, b"x", datetime(2026, 11, 24, 3), [None]],  # noqa: DTZ001
)
def test_a_filter_that_would_narrow_nothing_is_refused_without_quoting_it(value: Any) -> None:
    with pytest.raises(ValueError, match=r"filter\[userId\]"):
        narrowing({"userId": value})


def test_one_text_is_no_list_of_includes() -> None:
    with pytest.raises(ValueError, match="sequence of names"):
        narrowing(include="user")


@pytest.mark.parametrize("per_page", [0, 101, -1])
def test_a_page_size_beyond_the_documented_ones_is_refused(per_page: int) -> None:
    with pytest.raises(ValueError, match="between 1 and 100"):
        Listing(SESSIONS, item=lambda entry: entry, per_page=per_page)


def test_filters_go_along_to_every_page_unless_the_link_has_them() -> None:
    query = narrowing({"status": "active", "userId": [1, 2]}, ["user"])
    listing = Listing(SESSIONS, item=lambda entry: entry, query=query)
    listing.first()
    _, by_cursor = listing.read({"data": [], "meta": {"next_cursor": "b"}})
    assert by_cursor is not None
    assert by_cursor.query == (("cursor", "b"), ("per_page", "100"), *query)
    link = "/x?filter%5BuserId%5D%5B0%5D=1&filter%5BuserId%5D%5B1%5D=2&per_page=50&page=2"
    _, by_link = listing.read({"data": [], "links": {"next": link}})
    assert by_link is not None
    assert by_link.query == (
        ("filter[userId][0]", "1"),
        ("filter[userId][1]", "2"),
        ("per_page", "50"),
        ("page", "2"),
        ("filter[status]", "active"),
        ("include[]", "user"),
    )


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(
            st.sampled_from(
                ["data", "meta", "links", "next", "next_cursor", "cursor", "current_page", "last_page"]
            ),
            inner,
        )
    ),
)


@given(JSON)
def test_any_document_is_read_or_a_fault(document: Any) -> None:
    with suppress(ServerFault):
        walked(lambda _: document, max_pages=5)


async def collected(entries: Any) -> list[Any]:
    return [entry async for entry in entries]


def test_both_clients_walk_all_pages(through: Caller) -> None:
    tenant = Tenant(
        [
            ok({"data": [{"id": 1}], "meta": {"next_cursor": "b"}}),
            ok({"data": [{"id": 2}, {"id": 3}], "meta": {"next_cursor": None}}),
        ]
    )

    def ids(client: Any) -> Any:
        entries = client.resources.sessions.list(
            filters={"status": "active", "userId": [7, 8]}, include=["user"]
        )
        return collected(entries) if through.kind == "async" else list(entries)

    assert [session.id for session in through(tenant, ids)] == ["1", "2", "3"]
    narrowed = [
        ("per_page", "100"),
        ("filter[status]", "active"),
        ("filter[userId][]", "7"),
        ("filter[userId][]", "8"),
        ("include[]", "user"),
    ]
    assert [request.url.params.multi_items() for request in tenant.requests] == [
        [("cursor", ""), *narrowed],
        [("cursor", "b"), *narrowed],
    ]


def test_a_page_is_only_asked_for_when_somebody_wants_more(through: Caller) -> None:
    tenant = Tenant([ok({"data": [{"id": 1}, {"id": 2}], "meta": {"next_cursor": "b"}})])

    def first(client: Any) -> Any:
        entries = client.resources.sessions.list()
        assert tenant.requests == []
        return anext(entries) if through.kind == "async" else next(entries)

    assert through(tenant, first).id == "1"
    assert len(tenant.requests) == 1


def test_a_page_that_was_not_answered_is_asked_for_again(through: Caller) -> None:
    tenant = Tenant(
        [
            ok({"data": [{"id": 1}], "meta": {"next_cursor": "b"}}),
            httpx2.ReadTimeout(""),
            ok({"data": [{"id": 2}]}),
        ]
    )

    def ids(client: Any) -> Any:
        entries = client.resources.sessions.list()
        return collected(entries) if through.kind == "async" else list(entries)

    assert [session.id for session in through(tenant, ids)] == ["1", "2"]
