"""Builds requests to AMPECO and deciphers its answers: plain functions, no input or output, no token.

Source: AMPECO's API reference and clients in use: error shapes `{message}` and `{message, errors}`; lists as
`{data, meta, links}` (confirmed); actions may answer any 2xx with an empty body, and start actions
`success: false` (confirmed). The success code of most calls is not publicly documented: any 2xx counts.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

from pydantic_core import from_json

from ampeco.errors import (
    BODY_EXCERPT_CHARS,
    ActionRefused,
    ApiError,
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    RateLimited,
    RequestRefused,
    ServerFault,
    Unauthorized,
)
from ampeco.operations import Operation

MESSAGE_CHARS = 200
_SECONDS_DIGITS = 9
_BY_STATUS: Mapping[int, type[ApiError]] = {
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    412: Conflict,
}


@dataclass(frozen=True, slots=True)
class WireRequest:
    """A request as it goes out, but for the tenant's address and the token.

    Attributes:
        path: absolute path, percent-encoded.
        query: pairs, not encoded.
        body: JSON, empty when there is none.
    """

    operation: Operation
    path: str
    query: tuple[tuple[str, str], ...] = ()
    body: bytes = b""

    @property
    def method(self) -> str:
        """HTTP method."""
        return self.operation.method


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list.

    Attributes:
        following: query of the next page, None on the last one.
    """

    items: list[Any]
    following: tuple[tuple[str, str], ...] | None


def build(
    operation: Operation,
    parameters: Mapping[str, str | int] | None = None,
    body: Mapping[str, Any] | None = None,
    query: Sequence[tuple[str, str]] = (),
) -> WireRequest:
    """Build a request.

    Args:
        operation: what to call.
        parameters: a value for each path parameter.
        body: JSON object to send, None for no body.
        query: query pairs.

    Raises:
        ValueError: a parameter is missing, unknown, or no single path segment.
    """
    given = dict(parameters or {})
    if given.keys() != set(operation.parameters):
        raise ValueError(
            f"{operation.name} takes {operation.parameters or 'no parameters'}, not {tuple(given)}"
        )
    segments = {name: _segment(operation, name, value) for name, value in given.items()}
    return WireRequest(
        operation,
        operation.path.format_map(segments),
        tuple(query),
        b"" if body is None else json.dumps(body, separators=(",", ":")).encode(),
    )


def decipher(request: WireRequest, status: int, headers: Mapping[str, str], body: bytes) -> Any:
    """The decoded document of a successful answer, envelope included; None when the answer is empty.

    Raises:
        ApiError: a subclass of it, whenever the operation did not succeed.
    """
    operation = request.operation
    if not 200 <= status < 300:
        raise _failure(operation.name, status, headers, body)
    if not body.strip():
        return None
    try:
        document = from_json(body)
    except ValueError:
        raise ServerFault(operation.name, status, "the answer is not JSON", _excerpt(body)) from None
    if operation.kind != "read":
        outcome = content(document)
        if isinstance(outcome, dict) and outcome.get("success") is False:
            code = outcome.get("errorCode")
            said = _said(outcome) or "the action did not succeed"
            raise ActionRefused(
                operation.name,
                status,
                said,
                _excerpt(body),
                error_code=None if code is None else one_line(str(code)),
            )
    return document


def content(document: Any) -> Any:
    """What is inside the `data` envelope; the document itself when there is no envelope."""
    return document["data"] if isinstance(document, dict) and "data" in document else document


def page(operation: Operation, document: Any) -> Page:
    """Read one page of a list.

    Raises:
        ServerFault: the document is no list.
    """
    items = content(document)
    if not isinstance(items, list):
        raise ServerFault(operation.name, None, "the answer is not a list")
    return Page(items, _following(document) if isinstance(document, dict) else None)


def _segment(operation: Operation, name: str, value: str | int) -> str:
    text = str(value)
    if isinstance(value, bool) or not isinstance(value, str | int) or text in ("", ".", ".."):
        raise ValueError(f"{operation.name}: {name} must be an id")
    return quote(text, safe="")


def _following(document: dict[str, Any]) -> tuple[tuple[str, str], ...] | None:
    """`meta.next_cursor`, or `meta.cursor` (one AMPECO document), or the query of `links.next`."""
    meta, links = document.get("meta"), document.get("links")
    if isinstance(meta, dict):
        for name in ("next_cursor", "cursor"):
            if name in meta:
                cursor = meta[name]
                return (("cursor", cursor),) if isinstance(cursor, str) and cursor else None
    link = links.get("next") if isinstance(links, dict) else None
    if isinstance(link, str) and link:
        try:
            # Only the query: the token must not follow a link to another host.
            return tuple(parse_qsl(urlsplit(link).query)) or None
        except ValueError:
            return None
    return None


def _failure(operation: str, status: int, headers: Mapping[str, str], body: bytes) -> ApiError:
    try:
        document = from_json(body)
    except ValueError:
        document = None
    said, excerpt = _said(document), _excerpt(body)
    match status:
        case 422:
            return Invalid(operation, status, said, excerpt, errors=_field_errors(document))
        case 429:
            return RateLimited(operation, status, said, excerpt, retry_after_s=_retry_after_s(headers))
        case _ if 400 <= status < 500:
            return _BY_STATUS.get(status, RequestRefused)(operation, status, said, excerpt)
        case _ if 300 <= status < 400:
            return ServerFault(operation, status, "redirected; is the tenant URL right?", excerpt)
    return ServerFault(operation, status, said, excerpt)


def _said(document: object) -> str:
    message = document.get("message") if isinstance(document, dict) else None
    return one_line(message) if isinstance(message, str) else ""


def one_line(text: str) -> str:
    """Foreign text cut to what fits into a message."""
    return " ".join("".join(c if c.isprintable() else " " for c in text[: 2 * MESSAGE_CHARS]).split())[
        :MESSAGE_CHARS
    ]


def _excerpt(body: bytes) -> str:
    return body[: 4 * BODY_EXCERPT_CHARS].decode(errors="replace")[:BODY_EXCERPT_CHARS]


def _field_errors(document: object) -> dict[str, list[str]]:
    errors = document.get("errors") if isinstance(document, dict) else None
    if not isinstance(errors, dict):
        return {}
    return {
        field: [one_line(str(text)) for text in (texts if isinstance(texts, list) else [texts])]
        for field, texts in errors.items()
    }


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds, or a date, which counts from the answer's own `Date`: our clock has no say in it."""
    lowered = {name.lower(): value.strip() for name, value in headers.items()}
    asked = lowered.get("retry-after", "")
    if asked.isascii() and asked.isdigit() and len(asked) <= _SECONDS_DIGITS:
        return float(asked)
    try:
        pause = parsedate_to_datetime(asked) - parsedate_to_datetime(lowered.get("date", ""))
    except (ValueError, TypeError):
        return None
    return max(0.0, pause.total_seconds())
