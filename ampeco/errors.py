"""Everything that can go wrong between AMPECO and us, as one tree; `str()` of an error holds no body, no key.

    AmpecoError
    ├── SignatureError           the request was not signed with a key we accept (reason says how)
    ├── PayloadError             signed, but no JSON object we can keep (reason says why)
    ├── FieldMisfit              a field of a payload that was read does not fit its type, or is missing
    └── ApiError                 a call to AMPECO's API did not do what was asked
        ├── Unreachable
        │   ├── NotSent          no connection: the call was certainly not carried out
        │   └── NoAnswer         sent, no answer: the outcome is unknown
        ├── KeyRefused
        │   ├── Unauthorized     401
        │   └── Forbidden        403
        ├── RequestRefused       any other 4xx
        │   ├── BadRequest       400
        │   ├── NotFound         404
        │   ├── FeatureDisabled  405
        │   ├── Conflict         409
        │   ├── CriteriaNotMet   412
        │   └── Invalid          422, with field errors
        ├── ChargePointRefused   406: nothing happened; a later try may work
        ├── RateLimited          429, with the pause AMPECO asks for
        ├── NotSupported         501: nothing happened, and never will
        ├── ServerFault          other 5xx, redirects and answers that cannot be read: the outcome is unknown
        └── ActionRefused        2xx whose body says `success: false`

A class exists where a caller acts differently; `reason` is the slug that logs, metrics and tests share.
Source: statuses and their meaning from published contract v3.110.0.
"""

from collections.abc import Mapping, Sequence

BODY_CHARS = 65_536


class AmpecoError(Exception):
    """Base of everything this package raises on purpose."""

    reason: str = "ampeco"


class SignatureError(AmpecoError):
    """The signature is missing, malformed, too old or made with a key that we do not accept.

    Args:
        reason: `signature-missing`, `signature-malformed`, `signature-mismatch`, `signature-stale`,
            `timestamp-missing` or `timestamp-malformed`.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class PayloadError(AmpecoError):
    """Bytes that are no notification.

    Args:
        reason: `not-json`, `not-an-object` or `lone-surrogate`; of a body that is not plain UTF-8 also
            `gzip-damaged`, `unpacked-too-large` or `encoding-unknown`.
        detail: what the parser said; never a piece of the body.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason


class FieldMisfit(AmpecoError):
    """A required field of a payload was read, and what AMPECO sent does not fit its type, or is missing.

    Args:
        field: dotted name on the wire, e.g. `session.id`; `[]` stands for any place in an array.
    """

    reason = "payload-mismatch"

    def __init__(self, field: str) -> None:
        super().__init__(f"{field}: what was sent does not fit, or is missing")
        self.field = field


class ApiError(AmpecoError):
    """A call to AMPECO that did not do what was asked.

    Args:
        operation: name of the operation, e.g. `charge-point.reset`.
        status: HTTP status, None when there was no answer.
        message: what AMPECO or the transport said, one short line.
        body: the answer as text, HTML of a proxy too, its first 65,536 characters; for a debugger, in no message.
        request_id: what the answer calls the request, None when it does not.
        retry_after_s: pause that AMPECO asks for, at most a day; None when it names none.
    """

    reason = "api"

    def __init__(
        self,
        operation: str,
        status: int | None,
        message: str,
        body: str = "",
        *,
        request_id: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        where = operation if status is None else f"{operation}: {status}"
        super().__init__(f"{where}: {message}" if message else where)
        self.operation = operation
        self.status = status
        self.message = message
        self.body = body[:BODY_CHARS]
        self.request_id = request_id
        self.retry_after_s = retry_after_s


class Unreachable(ApiError):
    """No answer from AMPECO."""

    reason = "unreachable"


class NotSent(Unreachable):
    """The request never left: nothing happened at AMPECO."""

    reason = "not-sent"


class NoAnswer(Unreachable):
    """The request left and no answer came back: it may or may not have been carried out."""

    reason = "no-answer"


class KeyRefused(ApiError):
    """AMPECO does not accept our API token, or not for this."""

    reason = "key-refused"


class Unauthorized(KeyRefused):
    """401: the token is missing, unknown or revoked."""

    reason = "unauthorized"


class Forbidden(KeyRefused):
    """403: the owner of the token lacks the permission."""

    reason = "forbidden"


class RequestRefused(ApiError):
    """4xx: the request itself is at fault; sending it again as it is will not help."""

    reason = "request-refused"


class BadRequest(RequestRefused):
    """400: AMPECO does not carry this out as it is asked, e.g. without a currency or with too low a balance."""

    reason = "bad-request"


class NotFound(RequestRefused):
    """404: there is no such object."""

    reason = "not-found"


class FeatureDisabled(RequestRefused):
    """405: the feature is disabled at this tenant."""

    reason = "feature-disabled"


class Conflict(RequestRefused):
    """409: the object is not in a state that allows this."""

    reason = "conflict"


class CriteriaNotMet(RequestRefused):
    """412: the criteria for this are not met, e.g. for issuing an invoice."""

    reason = "criteria-not-met"


class Invalid(RequestRefused):
    """422: fields are wrong.

    Args:
        errors: field -> what is wrong with it; empty when AMPECO sent none.
    """

    reason = "invalid"

    def __init__(
        self,
        operation: str,
        status: int | None,
        message: str,
        body: str = "",
        *,
        errors: Mapping[str, Sequence[str]] | None = None,
        request_id: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(operation, status, message, body, request_id=request_id, retry_after_s=retry_after_s)
        self.errors: dict[str, list[str]] = {field: list(texts) for field, texts in (errors or {}).items()}


class ChargePointRefused(ApiError):
    """406: the charge point refused or is not connected; nothing happened, and a later try may work."""

    reason = "charge-point-refused"


class RateLimited(ApiError):
    """429: too many calls, see `retry_after_s`; without a status, our own budget refused and nothing was sent."""

    reason = "rate-limited"


class NotSupported(ApiError):
    """501: AMPECO has not implemented this; nothing happened, and no repetition will change that."""

    reason = "not-supported"


class ServerFault(ApiError):
    """5xx other than 501, a redirect, or an answer that cannot be read: the outcome is unknown."""

    reason = "server-fault"


class ActionRefused(ApiError):
    """AMPECO answered 2xx and said in the body that the action did not succeed.

    Args:
        error_code: AMPECO's `errorCode`, None when it gave none.
    """

    reason = "action-refused"

    def __init__(
        self,
        operation: str,
        status: int | None,
        message: str,
        body: str = "",
        *,
        error_code: str | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(operation, status, message, body, request_id=request_id)
        self.error_code = error_code

    def __str__(self) -> str:
        said = super().__str__()
        return said if self.error_code is None else f"{said} ({self.error_code})"


_BY_STATUS: Mapping[int, type[ApiError]] = {
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


def error_class(status: int) -> type[ApiError]:
    """Class of the error for an HTTP status that is not a success."""
    return _BY_STATUS.get(status, RequestRefused if 400 <= status < 500 else ServerFault)
