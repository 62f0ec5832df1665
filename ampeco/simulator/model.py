"""The values that a pretend tenant works with, and its one error."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any, Literal

from ampeco.signature import SigningKey

State = Literal["pending", "delivered", "failed", "dropped"]


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
    """A notification subscription as a caller asks for it. With `via` kafka it is stored, and nothing is sent."""

    via: Literal["webhook", "kafka"]
    notifications: tuple[str, ...]
    callback_url: str | None
    kafka: Mapping[str, Any] | None = field(default=None, repr=False)
    flags: Mapping[str, bool] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class NotificationSubscription:
    """A registered notification subscription; `key` is the token that subscribed.

    Attributes:
        silenced: its token was removed, and nothing is sent until the token is back.
        failed_in_a_row: deliveries given up since one was delivered.
    """

    id: int
    key: SigningKey
    request: SubscriptionRequest
    enabled: bool = True
    silenced: bool = False
    failed_in_a_row: int = 0
    resent_at: datetime | None = None

    def wants(self, notification: str) -> bool:
        """Whether a notification of this type is delivered to it."""
        return (
            self.enabled
            and not self.silenced
            and self.request.via == "webhook"
            and notification in self.request.notifications
        )


@dataclass(slots=True, eq=False)
class Delivery:
    """One notification for one notification subscription.

    Attributes:
        answers: to each attempt so far: a status, or why there was none.
        rank: place in the queue of its charge point; its id, unless it is to come late.
        repeats: id of the delivery that this is an equal second one of.
        made_at: when it was announced.
    """

    id: int
    subscription: NotificationSubscription
    notification: str
    charge_point_id: int | None
    body: bytes = field(repr=False)
    rank: int = 0
    repeats: int | None = None
    state: State = "pending"
    failures: int = 0
    failed_at: datetime | None = None
    answers: tuple[str, ...] = ()
    made_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class RecordedAction:
    """An action call that was accepted."""

    operation: str
    params: Mapping[str, str]
    called_at: datetime
    body: Any = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class RecordedCall:
    """Any call of the API, however it was answered.

    Attributes:
        number: counts from 1.
        operation, version: None for a path that is none of an operation.
        key_id: of the API token, None without a known one.
    """

    number: int
    operation: str | None
    version: str | None
    method: str
    path: str
    params: Mapping[str, str]
    key_id: str | None
    status: int
    called_at: datetime
    raw: bytes = field(default=b"", repr=False)
