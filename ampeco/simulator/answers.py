"""JSON that the pretend tenant answers with: resources, pages and the state of the simulation. Never a token."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from itertools import islice
from typing import Any

from starlette.requests import Request

from ampeco.simulator.model import NotificationSubscription, RecordedAction, Refused
from ampeco.simulator.scenario import Scenario
from ampeco.simulator.tenant import Tenant

SHOWN_ACTIONS = 100
MAX_PER_PAGE = 100


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
    return answer


def page(request: Request, subscriptions: Sequence[NotificationSubscription]) -> dict[str, Any]:
    """One page, in cursor mode when the caller sent a cursor (at first `null` or empty), else in page mode."""
    query = request.query_params
    per_page = _whole(query.get("per_page"), MAX_PER_PAGE, MAX_PER_PAGE)
    path = str(request.url.replace(query=""))
    if "cursor" in query:
        after = _read_cursor(query["cursor"])
        rest = [s for s in subscriptions if s.id > after]
        shown_here = rest[:per_page]
        cursor = _write_cursor(shown_here[-1].id) if len(rest) > per_page else None
        following = None if cursor is None else str(request.url.include_query_params(cursor=cursor))
        return {
            "data": [resource(s) for s in shown_here],
            "links": {"first": None, "last": None, "prev": None, "next": following},
            "meta": {"path": path, "per_page": per_page, "next_cursor": cursor, "prev_cursor": None},
        }
    last_page = max(1, -(-len(subscriptions) // per_page))
    number = _whole(query.get("page"), 1, 1_000_000)
    skipped = (number - 1) * per_page
    shown_here = list(subscriptions[skipped : skipped + per_page])
    following = str(request.url.include_query_params(page=number + 1)) if number < last_page else None
    return {
        "data": [resource(s) for s in shown_here],
        "links": {"first": None, "last": None, "prev": None, "next": following},
        "meta": {
            "current_page": number,
            "from": skipped + 1 if shown_here else None,
            "last_page": last_page,
            "path": path,
            "per_page": per_page,
            "to": skipped + len(shown_here) if shown_here else None,
            "total": len(subscriptions),
        },
    }


def _whole(text: str | None, default: int, at_most: int) -> int:
    if text is None or not (text.isascii() and text.isdigit() and len(text) < 10):
        return default
    return min(max(int(text), 1), at_most)


def _write_cursor(last_id: int) -> str:
    return urlsafe_b64encode(b"after:%d" % last_id).decode()


def _read_cursor(cursor: str) -> int:
    if cursor in {"", "null"}:
        return 0
    try:
        return int(urlsafe_b64decode(cursor).removeprefix(b"after:"))
    except ValueError:
        raise Refused(422, "The cursor is not valid.") from None


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
