"""Builds requests to AMPECO and reads its answers: plain functions, without input, output or token.

Source: published contract v3.110.0: error shapes `{message}` and `{message, errors}`; the envelope `{data}`, which
some answers lack; 200, 201, 202 or 204 for success. Clients in use: actions may answer any 2xx with an empty body,
and start actions `success: false`. So any 2xx counts.
"""

import json
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any
from urllib.parse import quote, urlencode

from pydantic_core import from_json

from ampeco.errors import BODY_CHARS, ActionRefused, ApiError, Invalid, ServerFault, error_class
from ampeco.operations import Method, Operation, normal_path, operation_at
from ampeco.rate_limits import retry_after_s

MESSAGE_CHARS = 200
MOST_URL_CHARS = 32_768  # of the path, and of the query; servers refuse less, and the transport 65,536
MOST_VALUES = 1_000_000
"""Members and elements of an answer; 16 MiB of empty arrays would be 700 MiB in memory."""

_MOST_FIELDS, _MOST_TEXTS = 1_000, 20  # of the field errors of a 422: each one costs time
_REQUEST_ID_CHARS = 100
_MEANINGS: Mapping[int, str] = {
    406: "the charge point refused or is not connected; a later try may work",
    501: "AMPECO has not implemented this; nothing happened",
}
"""Of statuses that come without a body; a message that AMPECO sends wins."""
# Not publicly documented: the usual names, the tenant's own before those of a proxy.
_REQUEST_ID_HEADERS = ("x-request-id", "x-correlation-id", "request-id", "x-amzn-trace-id", "cf-ray")


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
    body: bytes = field(default=b"", repr=False)  # it may hold a password

    @property
    def method(self) -> str:
        """HTTP method."""
        return self.operation.method


def build(
    operation: Operation,
    parameters: Mapping[str, str | int] | None = None,
    body: Mapping[str, Any] | Sequence[Any] | None = None,
    query: Sequence[tuple[str, str]] = (),
) -> WireRequest:
    """Build a request.

    Args:
        operation: what to call.
        parameters: a value for each path parameter.
        body: what to send as JSON, None for no body.
        query: query pairs.

    Raises:
        ValueError: a parameter is missing, unknown or no single path segment; a number is not finite; or the path or
            the query is too long.
    """
    given = dict(parameters or {})
    if given.keys() != set(operation.parameters):
        raise ValueError(
            f"{operation.name} takes {operation.parameters or 'no parameters'}, not {tuple(given)}"
        )
    segments = {name: _segment(operation, name, value) for name, value in given.items()}
    return _request(operation, operation.path.format_map(segments), query, body)


def build_at(
    method: Method,
    path: str,
    body: Mapping[str, Any] | Sequence[Any] | None = None,
    query: Sequence[tuple[str, str]] = (),
) -> WireRequest:
    """Build a request to a path, ids included; arguments otherwise as those of `build`.

    Raises:
        ValueError: the method or the path is none of AMPECO's API, or as those of `build`.
    """
    return _request(operation_at(method, path), normal_path(path), query, body)


def decipher(
    request: WireRequest, status: int, headers: Mapping[str, str], body: bytes, fault: str | None = None
) -> Any:
    """The decoded document of a successful answer, envelope included; None when the answer is empty.

    Args:
        fault: why the body could not be read; `body` is then empty.

    Raises:
        ApiError: a subclass of it, whenever the operation did not succeed.
    """
    operation = request.operation
    if not 200 <= status < 300:
        raise _failure(operation.name, status, headers, body)
    document = None
    if fault is None and body.strip():
        try:
            document = _document(body)
        except ValueError as error:
            fault = str(error)
        if _is_error(document):
            fault = f"the answer is an error: {_said(document) or 'it names none'}"
    if fault is not None:
        raise ServerFault(operation.name, status, fault, _text(body), request_id=_request_id(headers))
    outcome = content(document)
    if operation.kind != "read" and isinstance(outcome, dict) and outcome.get("success") is False:
        code = outcome.get("errorCode")
        raise ActionRefused(
            operation.name,
            status,
            _said(outcome) or "the action did not succeed",
            _text(body),
            error_code=None if code is None else one_line(code) or None,
            request_id=_request_id(headers),
        )
    return document


def content(document: Any) -> Any:
    """What is inside the `data` envelope; the document itself when there is no envelope."""
    return document["data"] if isinstance(document, dict) and "data" in document else document


def _request(
    operation: Operation,
    path: str,
    query: Sequence[tuple[str, str]],
    body: Mapping[str, Any] | Sequence[Any] | None,
) -> WireRequest:
    if max(len(path), len(urlencode(query))) > MOST_URL_CHARS:
        raise ValueError(
            f"{operation.name}: the path or the query is longer than {MOST_URL_CHARS} characters"
        )
    return WireRequest(operation, path, tuple(query), _json(body))


def _json(body: Mapping[str, Any] | Sequence[Any] | None) -> bytes:
    return b"" if body is None else json.dumps(body, separators=(",", ":"), allow_nan=False).encode()


def _segment(operation: Operation, name: str, value: str | int) -> str:
    text = str(value)
    if isinstance(value, bool) or not isinstance(value, str | int) or text in ("", ".", ".."):
        raise ValueError(f"{operation.name}: {name} must be an id")
    return quote(text, safe="")


def _failure(operation: str, status: int, headers: Mapping[str, str], body: bytes) -> ApiError:
    try:
        document = _document(body)
    except ValueError:
        document = None
    said = "redirected; is the tenant URL right?" if 300 <= status < 400 else _said(document)
    said = said or _MEANINGS.get(status, "")
    text, request_id = _text(body), _request_id(headers)
    kind = error_class(status)
    if kind is Invalid:
        errors = _field_errors(document)
        return Invalid(operation, status, said, text, errors=errors, request_id=request_id)
    pause_s = retry_after_s(status, headers)
    return kind(operation, status, said, text, request_id=request_id, retry_after_s=pause_s)


def _document(body: bytes) -> Any:
    """Decode an answer; a ValueError says why it cannot be."""
    if sum(map(body.count, (b",", b"[", b"{"))) > MOST_VALUES:
        raise ValueError(f"the answer holds more than {MOST_VALUES} values")
    try:
        return from_json(body, allow_inf_nan=False)
    except ValueError:
        raise ValueError("the answer is not JSON") from None


def _is_error(document: object) -> bool:
    """Whether a document states an error, in the shape of a refusal. No answer of the contract has such members."""
    if not isinstance(document, dict) or "data" in document or document.get("success") is not None:
        return False
    return bool(document.get("errors") or document.get("error"))


def _said(document: object) -> str:
    message = document.get("message") if isinstance(document, dict) else None
    return one_line(message) if isinstance(message, str) else ""


def one_line(said: object) -> str:
    """Cut foreign text, or a foreign value, to what fits into a message."""
    text = said if isinstance(said, str) else reprlib.repr(said)
    return " ".join("".join(c if c.isprintable() else " " for c in text[: 2 * MESSAGE_CHARS]).split())[
        :MESSAGE_CHARS
    ]


def _text(body: bytes) -> str:
    return body[: 4 * BODY_CHARS].decode(errors="replace")[:BODY_CHARS]


def _field_errors(document: object) -> dict[str, list[str]]:
    errors = document.get("errors") if isinstance(document, dict) else None
    if not isinstance(errors, dict):
        return {}
    return {
        one_line(field): [*map(one_line, texts[:_MOST_TEXTS] if isinstance(texts, list) else [texts])]
        for field, texts in islice(errors.items(), _MOST_FIELDS)
    }


def _request_id(headers: Mapping[str, str]) -> str | None:
    lowered = {name.lower(): value for name, value in headers.items()}
    found = (one_line(lowered.get(name, ""))[:_REQUEST_ID_CHARS] for name in _REQUEST_ID_HEADERS)
    return next(filter(None, found), None)
