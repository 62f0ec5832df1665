"""Walks through lists: cursors, page numbers, links, and where a walk ends."""

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, date, datetime
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ampeco.errors import ServerFault
from ampeco.listing import BY_NUMBER, Listing, narrowing
from ampeco.operations import OPERATIONS
from tests.unit.ampeco.scripted import Caller, Tenant, ok

SESSIONS = OPERATIONS["resources.sessions.list"]


def walked(answer: Callable[[dict[str, str]], Any], **options: Any) -> tuple[list[Any], list[dict[str, str]]]:
    """Entries of a whole walk, and the queries it asked."""
    listing = Listing(SESSIONS, item=lambda entry: entry, **options)
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
    assert asked == [{"cursor": cursor, "per_page": "2"} for cursor in ("null", "b", "c")]


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


def test_a_walk_by_number_starts_at_page_one() -> None:
    _, asked = walked(scripted({"data": []}), start=BY_NUMBER)
    assert asked == [{"page": "1", "per_page": "100"}]


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


def test_a_link_to_another_host_gives_its_query_only() -> None:
    listing = Listing(SESSIONS, item=lambda entry: entry)
    listing.first()
    _, following = listing.read({"data": [], "links": {"next": "https://evil.example/steal?cursor=b"}})
    assert following is not None
    assert following.path == "/public-api/resources/sessions/v1.0"
    assert following.query == (("cursor", "b"), ("per_page", "100"))


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


def test_a_walk_ends_where_it_would_ask_again() -> None:
    found, asked = walked(lambda _: {"data": [1], "meta": {"next_cursor": "same"}})
    assert (len(found), len(asked)) == (2, 2)
    found, asked = walked(lambda _: {"data": [1], "meta": {"current_page": 1, "last_page": 9}})
    assert (len(found), len(asked)) == (2, 2)


def test_a_list_without_an_end_is_a_fault() -> None:
    with pytest.raises(ServerFault, match="does not end after 7 pages"):
        walked(lambda query: {"data": [1], "meta": {"next_cursor": query["cursor"] + "x"}}, max_pages=7)


def test_a_list_of_just_as_many_pages_is_none() -> None:
    def three(query: dict[str, str]) -> Any:
        return {"data": [1], "meta": {"next_cursor": {"null": "b", "b": "c"}.get(query["cursor"])}}

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
        [("cursor", "null"), *narrowed],
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
