"""Answers calls of the notifications API, v1.0 and v2.0, and of Resend Failed; the rules are the tenant's.

Whether both versions share their ids is not published; here they do, and v1.0 shows webhooks only.
"""

from ampeco.signature import SigningKey
from ampeco.simulator.api import answers
from ampeco.simulator.api.call import Answer, Call
from ampeco.simulator.api.paging import page
from ampeco.simulator.api.requests import read_resend, read_subscription, read_subscription_v1
from ampeco.simulator.api.shaping import empty, shaped
from ampeco.simulator.model import NotificationSubscription, Refused, SubscriptionRequest
from ampeco.simulator.tenant import Tenant

RESEND = "notifications.resend-failed"


class NotificationApi:
    """Notification subscriptions."""

    def __init__(self, tenant: Tenant) -> None:
        self._tenant = tenant

    def answer(self, call: Call) -> Answer:
        """
        Raises:
            Refused: 404, 422 or 429.
        """
        match call.operation.name:
            case "notifications.list":
                return self._list(call)
            case "notifications.subscribe":
                made = self._tenant.subscribe(self._wish(call), call.token)
                return self._shown(call, made, created=True)
        subscription = self._tenant.subscription(call.params["notification"])
        if _is_v1(call) and subscription.request.via != "webhook":
            raise Refused(404, "There is no such notification subscription.")
        match call.operation.name:
            case "notifications.update":
                subscription.request = self._wish(call)
                if self._tenant.habits.update_changes_key:
                    subscription.key = SigningKey.of(call.token)
            case "notifications.unsubscribe":
                self._tenant.unsubscribe(subscription)
                return empty(call)
            case "notifications.resend-failed":
                return self._resend(call, subscription)
        return self._shown(call, subscription)

    def _list(self, call: Call) -> Answer:
        own = SigningKey.of(call.token) if self._tenant.habits.listing_scope == "own" else None
        known = {
            str(subscription.id): subscription
            for subscription in self._tenant.subscriptions.values()
            if (not _is_v1(call) or subscription.request.via == "webhook") and own in (None, subscription.key)
        }
        show = answers.resource_v1 if _is_v1(call) else answers.resource
        return Answer(200, page(call, self._tenant.habits, list(known), lambda id_: show(known[id_])))

    def _wish(self, call: Call) -> SubscriptionRequest:
        read = read_subscription_v1 if _is_v1(call) else read_subscription
        return read(call.body(), self._tenant.habits)

    def _resend(self, call: Call, subscription: NotificationSubscription) -> Answer:
        body = call.body()
        self._tenant.resend(subscription, *read_resend(body, self._tenant.habits))
        self._tenant.record(RESEND, {"notification": str(subscription.id)}, body)
        return empty(call)

    def _shown(self, call: Call, subscription: NotificationSubscription, *, created: bool = False) -> Answer:
        show = answers.resource_v1 if _is_v1(call) else answers.resource
        return shaped(call, self._tenant.habits, show(subscription), created=created)


def _is_v1(call: Call) -> bool:
    return call.operation.version == "1.0" and call.operation.name != RESEND
