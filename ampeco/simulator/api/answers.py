"""JSON that the pretend tenant answers with: resources, pages and the state of the simulation. Never a token."""

import hashlib
import json
from itertools import islice
from typing import Any

from ampeco.simulator.fleet.scenario import Scenario
from ampeco.simulator.model import Delivery, NotificationSubscription, RecordedAction, RecordedCall
from ampeco.simulator.tenant import Tenant

SHOWN_ACTIONS = 100


def resource(subscription: NotificationSubscription) -> dict[str, Any]:
    """A notification subscription as the API shows it; the Kafka password stays in."""
    request = subscription.request
    answer: dict[str, Any] = {
        "id": subscription.id,
        "via": request.via,
        "notifications": list(request.notifications),
    }
    if request.callback_url is not None:
        answer["webhook"] = {"callbackUrl": request.callback_url}
    if request.kafka is not None:
        answer["kafka"] = {name: value for name, value in request.kafka.items() if name != "saslPassword"}
    return {**answer, **request.flags}


def resource_v1(subscription: NotificationSubscription) -> dict[str, Any]:
    """A notification subscription as v1.0 of the API shows it."""
    request = subscription.request
    return {
        "webhookId": subscription.id,
        "notifications": list(request.notifications),
        "callbackUrl": request.callback_url,
        **request.flags,
    }


def state(tenant: Tenant, scenario: Scenario) -> dict[str, Any]:
    """Everything counted, for GET /simulator/state; cheap enough to be asked often."""
    by_type = tenant.counts_by_type()
    newest_first = islice(reversed(tenant.actions), SHOWN_ACTIONS)
    return {
        "sent": sum(counts["sent"] for counts in by_type.values()),
        "attempts": tenant.attempts,
        "delivered": tenant.count("delivered"),
        "failed": tenant.count("failed"),
        "pending": tenant.pending,
        "dropped": tenant.count("dropped"),
        "resent": tenant.resent,
        "repeated": tenant.repeated,
        "answers": dict(sorted(tenant.answers.items())),
        "types": by_type,
        "actions": [action(recorded) for recorded in newest_first],
        "action_counts": dict(sorted(tenant.action_counts.items())),
        "subscriptions": [shown(subscription) for subscription in tenant.subscriptions.values()],
        "scenario": scenario.describe(),
    }


def shown(subscription: NotificationSubscription) -> dict[str, Any]:
    """A notification subscription with what the API does not show."""
    return {
        **resource(subscription),
        "enabled": subscription.enabled,
        "silenced": subscription.silenced,
        "key_id": subscription.key.key_id,
        "resent_at": None if subscription.resent_at is None else subscription.resent_at.isoformat(),
    }


def action(recorded: RecordedAction) -> dict[str, Any]:
    """A recorded action."""
    return {
        "operation": recorded.operation,
        "params": dict(recorded.params),
        "at": recorded.called_at.isoformat(),
        "body": recorded.body,
    }


def call(recorded: RecordedCall) -> dict[str, Any]:
    """A recorded call of the API; its body as JSON, or as a text when it is none."""
    return {
        "number": recorded.number,
        "operation": recorded.operation,
        "version": recorded.version,
        "method": recorded.method,
        "path": recorded.path,
        "params": dict(recorded.params),
        "key_id": recorded.key_id,
        "status": recorded.status,
        "at": recorded.called_at.isoformat(),
        "body": _readable(recorded.raw),
    }


def delivery(made: Delivery, *, with_body: bool) -> dict[str, Any]:
    """A delivery, what the receiver answered to each attempt, and its body or that body's digest."""
    shown: dict[str, Any] = {
        "id": made.id,
        "notification": made.notification,
        "subscription": made.subscription.id,
        "charge_point": made.charge_point_id,
        "repeats": made.repeats,
        "state": made.state,
        "attempts": len(made.answers),
        "answers": list(made.answers),
        "sha256": hashlib.sha256(made.body).hexdigest(),
    }
    if with_body:
        shown["body"] = _readable(made.body)
    return shown


def _readable(raw: bytes) -> Any:
    if not raw:
        return None
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        return raw.decode(errors="replace")
