"""Lists of AMPECO, page by page: each page as a request and its answer; knows no transport.

The first page is asked for as the operation says (`Operation.paging`); what the answer names leads to the next. Only
the query of a link is used: a walk never leaves the tenant's host and the path of the list.

Source: published contract v3.110.0 (`cursor` only as given by `links.next`, an empty `cursor` that enters cursor
mode, `page`, `per_page` of at most 100). `meta.cursor` and page numbers in answer to a listing that the contract does
not have: one of AMPECO's documents, and an SDK.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Generic, TypeVar
from urllib.parse import parse_qsl, urlencode, urlsplit

from ampeco.errors import ServerFault
from ampeco.operations import Operation, Paging
from ampeco.wire import MOST_URL_CHARS, WireRequest, build, content

T = TypeVar("T")
Query = tuple[tuple[str, str], ...]

PER_PAGE = 100  # default and documented maximum
MAX_PAGES = 10_000
MAX_ENTRIES = 10_000
"""Of one page, which is asked for with `PER_PAGE`. Reading an entry takes up to 0.1 ms."""
_MOST_QUERY_CHARS = MOST_URL_CHARS // 2  # the rest is for filters of the caller
_FIRST: Mapping[Paging, Query] = {"empty-cursor": (("cursor", ""),), "page": (("page", "1"),)}
_INDEX = re.compile(r"\[\d*\]$")


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list.

    Attributes:
        following: the query of the next page, None on the last one; filters and includes are not repeated in it.
    """

    items: list[Any]
    following: Query | None


class Listing(Generic[T]):
    """One walk through a list: `first()`, then `read()` for each answer until it names no further request.

    An entry that moves during the walk can come twice or not at all: AMPECO promises no snapshot.

    Args:
        item: makes a result of one entry.
        query: what `narrowing` gives, or further pairs as AMPECO's reference spells them.
        per_page: 1 to 100; where the contract knows no size of pages, the usual 100 is not sent.
        max_pages: a list with more pages counts as endless.

    Raises:
        ValueError: `per_page` is out of bounds.
    """

    def __init__(
        self,
        operation: Operation,
        parameters: Mapping[str, str | int] | None = None,
        *,
        item: Callable[[Any], T],
        query: Query = (),
        per_page: int = PER_PAGE,
        max_pages: int = MAX_PAGES,
    ) -> None:
        if not 1 <= per_page <= PER_PAGE:
            raise ValueError(f"per_page must be between 1 and {PER_PAGE}")
        self._operation = operation
        self._parameters = dict(parameters or {})
        self._item = item
        sized = per_page != PER_PAGE or operation.paging != "none"
        self._kept = (*((("per_page", str(per_page)),) if sized else ()), *query)
        self._max_pages = max_pages
        self._seen: set[Query] = set()

    def first(self) -> WireRequest:
        """The request of the first page; starts the walk again."""
        self._seen = set()
        return self._request(_FIRST.get(self._operation.paging, ()))

    def read(self, document: Any) -> tuple[list[T], WireRequest | None]:
        """Results of one answer, and the request of the next page.

        Raises:
            ServerFault: as of `page`, or the answer leads back to a page of this walk, or the list does not end.
        """
        part = page(self._operation, document)
        items = [self._item(entry) for entry in part.items]
        if part.following is None:
            return items, None
        if part.following in self._seen:
            said = f"page {len(self._seen)} of the list leads back to an earlier page"
            raise ServerFault(self._operation.name, None, said, json.dumps(document))
        if len(self._seen) >= self._max_pages:
            said = f"the list does not end after {self._max_pages} pages"
            raise ServerFault(self._operation.name, None, said)
        return items, self._request(part.following)

    def _request(self, leading: Query) -> WireRequest:
        self._seen.add(leading)
        named = {_INDEX.sub("", name) for name, _ in leading}
        kept = tuple(pair for pair in self._kept if _INDEX.sub("", pair[0]) not in named)
        return build(self._operation, self._parameters, query=leading + kept)


def narrowing(
    filters: Mapping[str, Any] | None = None,
    include: Sequence[str] = (),
    query: Mapping[str, Any] | None = None,
) -> Query:
    """Query pairs: `filter[name]=v`, `filter[name][]=v` for a sequence, `include[]=rel`, and others as they are.

    Raises:
        ValueError: a value is None or an empty list, which would silently narrow nothing; or `include` is one text.
    """
    if isinstance(include, str):
        raise ValueError("include takes a sequence of names, not one text")
    return (
        *_pairs({f"filter[{name}]": value for name, value in (filters or {}).items()}),
        *(("include[]", name) for name in include),
        *_pairs(query or {}),
    )


def page(operation: Operation, document: Any) -> Page:
    """Read one page of a list: `{data, meta, links}`, `{data}` or a bare list.

    Raises:
        ServerFault: the document is not a list (an empty answer is none either), it is too long, or its link to the
            next page cannot be followed.
    """
    items = content(document)
    if not isinstance(items, list):
        raise ServerFault(operation.name, None, "the answer is not a list", json.dumps(document))
    if len(items) > MAX_ENTRIES:
        raise ServerFault(operation.name, None, f"a page of the list has more than {MAX_ENTRIES} entries")
    following = _following(document) if isinstance(document, dict) else None
    if following is not None and len(urlencode(following)) > _MOST_QUERY_CHARS:
        raise ServerFault(operation.name, None, "the address of the next page is too long")
    if following is None and _names_more(document):
        raise ServerFault(operation.name, None, "the next page has no address that can be used")
    return Page(items, following)


def _pairs(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        if isinstance(value, Sequence | set | frozenset) and not isinstance(value, str | bytes):
            if not value:
                raise ValueError(f"{name} is an empty list")
            yield from ((f"{name}[]", _text(name, one)) for one in value)
        else:
            yield name, _text(name, value)


def _text(name: str, value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case datetime() if value.tzinfo is not None:
            return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        case str() | int() | float() | date() if not isinstance(value, datetime):
            return str(value)
    raise ValueError(
        f"{name}: a text, number, date or moment with a time zone is needed, not {type(value).__name__}"
    )


def _following(document: Mapping[str, Any]) -> Query | None:
    """The query of `links.next`, else a cursor in `meta`, else the number after `meta.current_page`."""
    meta, links = document.get("meta"), document.get("links")
    given = meta if isinstance(meta, dict) else {}
    link = links.get("next") if isinstance(links, dict) else None
    if isinstance(link, str) and (query := _query_of(link)):
        return query
    for name in ("next_cursor", "cursor"):
        if name in given:
            cursor = given[name]
            text = str(cursor) if type(cursor) in (int, str) else ""
            return (("cursor", text),) if text else _numbered(given)
    return _numbered(given)


def _names_more(document: Any) -> bool:
    """Whether a link names a next page and nothing else says that the list has ended."""
    meta, links = (document.get(name) if isinstance(document, dict) else None for name in ("meta", "links"))
    link = links.get("next") if isinstance(links, dict) else None
    is_counted = isinstance(meta, dict) and bool(meta.keys() & {"next_cursor", "cursor", "current_page"})
    return isinstance(link, str) and bool(link) and not is_counted


def _query_of(link: str) -> Query:
    try:
        return tuple(parse_qsl(urlsplit(link).query))
    except ValueError:
        return ()


def _numbered(meta: Mapping[str, Any]) -> Query | None:
    current, last = meta.get("current_page"), meta.get("last_page")
    if isinstance(current, int) and isinstance(last, int) and current < last:
        return (("page", str(current + 1)),)
    return None
