"""How a pretend tenant behaves where AMPECO publishes nothing: one switch per open question, all of them off or mild.

The fields are the only source about switches: the control endpoint, scenario files and the table in the README are
made from them. What `says` marks as a guess is our invention, for trying what a receiver does; whether AMPECO
behaves so is not known. Nothing here decides: the tenant, the sender and the API look switches up.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from hashlib import blake2b
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from ampeco.signature import Encoding

# ruff: noqa: RUF009 - `_switch` is `dataclasses.field`, with its description


Share = Annotated[float, Field(ge=0, le=1)]
Seconds = Annotated[float, Field(ge=0, le=1e6)]
PerSecond = Annotated[float, Field(gt=0, le=1e6)]
BodyEncoding = Literal["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "gzip"]
Status = Annotated[int, Field(ge=200, le=599)]

_RETRY_PAUSES_S = (1.0, 5.0, 30.0, 120.0)


def _switch(default: Any, says: str, *, guess: bool = True) -> Any:
    return field(default=default, metadata={"says": says, "guess": guess})


@dataclass(frozen=True, slots=True)
class Habits:
    """The switches. What each one does is in its metadata, for people who read the README instead."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    # -- deliveries
    retry_pauses_s: Annotated[tuple[Seconds, ...], Field(max_length=100)] = _switch(
        _RETRY_PAUSES_S, "pauses between the attempts of one delivery; after the last one it is given up"
    )
    timeout_s: Annotated[float, Field(gt=0, le=3600)] = _switch(5.0, "for one attempt, connecting included")
    concurrency: Annotated[int, Field(ge=1, le=10_000)] = _switch(
        64, "attempts in flight at one time; fixed while it serves"
    )
    delivered_statuses: tuple[Status, ...] = _switch(
        (), "statuses that count as delivered; empty = every 2xx"
    )
    deliveries_per_s: PerSecond | None = _switch(None, "rate limit of attempts; null = none")
    delay_s: Seconds = _switch(0.0, "wait before the first attempt of each delivery")
    burst_every_s: Seconds = _switch(
        0.0, "deliveries are collected and let go together this often; 0 = at once"
    )
    hold_deliveries: bool = _switch(False, "first attempts wait until this is switched off again")
    duplicate_share: Share = _switch(
        0.0, "deliveries that come twice: an equal second one right behind the first"
    )
    late_share: Share = _switch(0.0, "deliveries that come late, behind the next one of their charge point")
    late_s: Seconds = _switch(2.0, "a late delivery without a next one comes after this time")
    unreachable_share: Share = _switch(0.0, "attempts that never arrive: `connect-error`, nothing sent")
    lost_answer_share: Share = _switch(
        0.0, "attempts whose answer is lost: delivered for the receiver, `no-answer` for the tenant"
    )
    seed: int = _switch(1, "decides which deliveries and calls the shares hit", guess=False)
    disable_after: Annotated[int, Field(ge=0)] = _switch(
        0, "a notification subscription is disabled after so many given-up deliveries in a row; 0 = never"
    )
    resend_every_s: Seconds = _switch(
        900.0, "Resend Failed is accepted once in this time per notification subscription", guess=False
    )
    too_early_status: Literal[409, 422, 429] = _switch(
        429, "answer to a Resend Failed before its time; 429 comes with Retry-After"
    )
    resend_bodies: Literal["same", "fresh"] = _switch(
        "same", "fresh = bodies that are resent carry the `lastUpdatedAt` of the resend"
    )

    # -- keys and signatures
    signature_encoding: Encoding = _switch("hex", "how X-Signature writes the digest")
    signature_prefix: Annotated[str, Field(pattern="^[ -~]*$")] = _switch("", "put before it, e.g. `sha256=`")
    timestamp_signature: Literal["off", "asked", "always"] = _switch(
        "off",
        "sign the text of `X-Timestamp` together with the body; "
        "asked = for subscriptions with `includeTimestampInSignature`",
    )
    timestamp_order: Literal["timestamp-body", "body-timestamp"] = _switch(
        "timestamp-body", "which comes first in the signed string"
    )
    timestamp_separator: str = _switch(".", "between them in the signed string")
    timestamp_of: Literal["attempt", "event"] = _switch(
        "attempt", "X-Timestamp is the time of the attempt, or of the notification in all attempts"
    )
    tenant_id: Annotated[str, Field(pattern="^[!-~]+$")] = _switch("1", "X-Tenant", guess=False)
    webhook_headers: Literal["documented", "all"] = _switch(
        "documented", "all = X-Webhook-Id and X-Webhook-Type on every type, not only where documented"
    )
    removed_token: Literal["stops", "keeps-key"] = _switch(
        "stops", "what becomes of the notification subscriptions of an API token that is removed"
    )
    update_changes_key: bool = _switch(
        False, "updating a notification subscription with another token changes its key"
    )

    # -- bodies
    session_start_stop: Literal["flat", "nested"] = _switch(
        "flat", "nested = starts and stops carry a `session` object instead of the documented fields"
    )
    both_spellings: bool = _switch(
        False, "who subscribes to both spellings of a type gets each event twice; false = the newer one alone"
    )
    wrapped_payloads: bool = _switch(False, 'notifications come as `{"data": {...}}`')
    body_encoding: BodyEncoding = _switch(
        "utf-8", "bytes of notifications, which are signed; gzip comes with `Content-Encoding`"
    )
    payload_case: Literal["camel", "snake"] = _switch(
        "camel", "spelling of the names in notifications; snake_case is left over in v1.0 shapes"
    )
    payload_ids: Literal["mixed", "text", "number"] = _switch(
        "mixed", "ids in notifications: mixed = as documented, or all of them one JSON type"
    )

    # -- the API
    strict_bodies: bool = _switch(
        True, "422 for a documented body with a missing field, a wrong JSON type or an unknown value"
    )
    accepts_flags: bool = _switch(
        True, "the newer flags of notification subscriptions are kept; false = 422, as an old tenant might"
    )
    created_status: Literal[200, 201] | None = _switch(
        None, "answer to Subscribe and to creating a resource instead of the documented 201"
    )
    listings: Literal["documented", "both", "page"] = _switch(
        "documented",
        "documented = as the contract says for each; both = by cursor when a cursor is sent, else by page; "
        "page = cursors are ignored",
    )
    listing_scope: Literal["all", "own"] = _switch(
        "all", "own = a token sees only the notification subscriptions that it made"
    )
    extra_types: tuple[str, ...] = _switch(
        (), "notification types that Subscribe accepts beyond the documented ones"
    )
    refused_types: tuple[str, ...] = _switch((), "documented notification types that Subscribe refuses (422)")
    cursor_name: Literal["next_cursor", "cursor"] = _switch(
        "next_cursor", "where `meta` has the next cursor", guess=False
    )
    requests_per_s: PerSecond | None = _switch(
        None, "429 for calls of one token beyond this rate; null = no limit"
    )
    retry_after: Literal["seconds", "date", "none"] = _switch(
        "seconds", "how a 429 and a failing proxy say when to come again"
    )
    api_fault_share: Share = _switch(0.0, "calls answered by a failing proxy")
    api_fault_status: Annotated[int, Field(ge=400, le=599)] = _switch(502, "its status")
    api_fault_html: bool = _switch(True, "its answer is an HTML page; false = JSON with a message")
    api_fault_after: bool = _switch(False, "the call is carried out before its answer is replaced")
    api_fault_operations: tuple[str, ...] = _switch((), "operations it hits; empty = all")
    refusals: Mapping[str, Status] = field(
        default_factory=dict,
        metadata={
            "says": "operation -> status it is refused with, e.g. 406 (rejected by the charge point) or 501; "
            "nothing is done",
            "guess": False,
        },
    )
    refused_actions: Mapping[str, str] = field(
        default_factory=dict,
        metadata={
            "says": "operation -> errorCode: the action answers its usual status with `success: false`",
            "guess": False,
        },
    )

    @property
    def dresses(self) -> bool:
        """Whether bodies are rewritten before they are sent."""
        return (
            self.session_start_stop != "flat"
            or self.wrapped_payloads
            or self.payload_case != "camel"
            or self.payload_ids != "mixed"
        )

    @property
    def disturbs(self) -> bool:
        """Whether anything stands between a new delivery and its first attempt."""
        return bool(self.hold_deliveries or self.late_share or self.delay_s or self.burst_every_s)

    def counts_as_delivered(self, answer: str) -> bool:
        """Whether this answer to an attempt is a success."""
        if len(answer) != 3 or not answer.isdecimal():
            return False
        return int(answer) in self.delivered_statuses if self.delivered_statuses else answer[0] == "2"


def as_json(habits: Habits) -> dict[str, Any]:
    """The switches as the control endpoint shows them."""
    shown = asdict(habits)
    return {name: list(value) if isinstance(value, tuple) else value for name, value in shown.items()}


def markdown_table() -> str:
    """Every switch with its default, for the README."""
    rows = ["| switch | default | does |", "|---|---|---|"]
    for switch in fields(Habits):
        default = as_json(Habits())[switch.name]
        mark = " (guess)" if switch.metadata["guess"] else ""
        rows.append(f"| `{switch.name}` | `{json.dumps(default)}` | {switch.metadata['says']}{mark} |")
    return "\n".join(rows) + "\n"


_ALL = 1 << 64


def hit(share: float, seed: int, *what: str | int) -> bool:
    """Whether this one belongs to the share.

    Args:
        share: 0 to 1.
        what: names the one, e.g. ("late", delivery id).
    """
    if share <= 0:
        return False
    text = ":".join(map(str, (seed, *what)))
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest()) < share * _ALL
