"""Our registration for notifications at AMPECO, as its API answers it."""

from dataclasses import dataclass
from typing import Any

from ampeco.models.fields import read_id


@dataclass(frozen=True, slots=True)
class NotificationSubscription:
    """A notification subscription (not a customer's plan, which AMPECO calls subscription).

    Attributes:
        via: `webhook` or `kafka`.
        notifications: the subscribed types.
        callback_url: where AMPECO delivers to; None unless `via` is webhook.
    """

    id: str
    via: str
    notifications: tuple[str, ...]
    callback_url: str | None

    @classmethod
    def read(cls, data: Any) -> "NotificationSubscription | None":
        """From an answer of the API, v2.0 or the older v1.0 shape; None when it is neither.

        Source: notifications v2.0 at v3.110.0 (`id`, `webhook.callbackUrl`) and v1.0 (`webhookId`,
        `callbackUrl`): confirmed; how the two id spaces relate is not publicly documented.
        """
        if not isinstance(data, dict):
            return None
        found = read_id(data.get("id")) or read_id(data.get("webhookId"))
        if found is None:
            return None
        webhook, types = data.get("webhook"), data.get("notifications")
        url = webhook.get("callbackUrl") if isinstance(webhook, dict) else data.get("callbackUrl")
        via = data.get("via")
        return cls(
            found,
            via if isinstance(via, str) else "webhook",
            tuple(name for name in types if isinstance(name, str)) if isinstance(types, list) else (),
            url if isinstance(url, str) else None,
        )
