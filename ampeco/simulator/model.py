"""The things a pretend tenant deals in, as plain values, and the one error it has."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any, Literal

from ampeco.signature import Encoding, SigningKey

State = Literal["pending", "delivered", "failed", "dropped"]


@dataclass(frozen=True, slots=True)
class Habits:
    """How a tenant behaves where AMPECO publishes nothing; every value is a guess that a test may change.

    Attributes:
        retry_pauses_s: pauses between the attempts of one delivery; after the last one it is given up.
        timeout_s: for one attempt, connecting included.
        concurrency: attempts in flight at one time.
        resend_every_s: a resend is accepted once in this time per notification subscription (documented: 900).
        too_early_status: answer to a resend before its time, 429 (with Retry-After) or 422.
        signature_encoding, signature_prefix: spelling of X-Signature.
    """

    retry_pauses_s: tuple[float, ...] = (1.0, 5.0, 30.0, 120.0)
    timeout_s: float = 5.0
    concurrency: int = 64
    resend_every_s: float = 900.0
    too_early_status: Literal[422, 429] = 429
    signature_encoding: Encoding = "hex"
    signature_prefix: str = ""


class Refused(Exception):
    """The tenant refuses a call. Carries what the API answers; the message never holds a token or a body."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        errors: Mapping[str, Sequence[str]] = MappingProxyType({}),
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(f"{status} {message}")
        self.status = status
        self.message = message
        self.errors = errors
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True)
class SubscriptionRequest:
    """A notification subscription as a caller asks for it. With `via` kafka it is kept, and nothing is sent."""

    via: Literal["webhook", "kafka"]
    notifications: tuple[str, ...]
    callback_url: str | None
    kafka: Mapping[str, Any] | None = field(default=None, repr=False)


@dataclass(slots=True, eq=False)
class NotificationSubscription:
    """A registered notification subscription; `key` is the token that subscribed."""

    id: int
    key: SigningKey
    request: SubscriptionRequest
    enabled: bool = True
    resent_at: datetime | None = None

    def wants(self, notification: str) -> bool:
        """Whether a notification of this type is delivered to it."""
        return self.enabled and self.request.via == "webhook" and notification in self.request.notifications


@dataclass(slots=True, eq=False)
class Delivery:
    """One notification for one notification subscription."""

    id: int
    subscription: NotificationSubscription
    notification: str
    charge_point_id: int | None
    body: bytes = field(repr=False)
    state: State = "pending"
    failures: int = 0
    failed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class RecordedAction:
    """An action somebody called."""

    operation: str
    params: Mapping[str, str]
    called_at: datetime
    body: Any = field(default=None, repr=False)
